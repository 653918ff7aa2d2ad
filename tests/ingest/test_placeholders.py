"""Words that DuckLake would replace, in whatever a bucket has or a user types: none gets into a lake or stops it."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, start_lake, write_objects
from dicom_files import build_file
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from servers import S3

import warehouse
from warehouse.errors import UsageError
from warehouse.settings import Settings

ALONE, WORKERS = Settings(workers=1), Settings(workers=2, unit_objects=20)
#: All that DuckLake 1.5.5 replaces in the SQL of a commit, and one that a later one might.
WORDS = [
    *("{SNAPSHOT_ID}", "{SCHEMA_VERSION}", "{NEXT_CATALOG_ID}", "{NEXT_FILE_ID}", "{AUTHOR}", "{COMMIT_MESSAGE}"),
    *("{COMMIT_EXTRA_INFO}", "{METADATA_CATALOG_NAME_LITERAL}", "{METADATA_CATALOG_NAME_IDENTIFIER}", "{DATA_PATH}"),
    *("{METADATA_SCHEMA_NAME_LITERAL}", "{METADATA_CATALOG}", "{METADATA_SCHEMA_ESCAPED}", "{METADATA_PATH}", "{NEW}"),
]
#: Texts with braces that no database replaces.
HARMLESS = [
    "{",
    "}",
    "{}",
    "{Doe}",
    "{data_path}",
    "{DATA PATH}",
    "{0F1A2B3C-44DD-11EB-AEE0-0242AC130002}",
    "{ABC123}",
    "{L}",
]
PLACEHOLDER = re.compile(r"\{[A-Z][A-Z_]{2,}\}")


def header(modality: str = "CT", **attributes: str) -> str:
    values = {"00080060": ("CS", modality), "0020000D": ("UI", "1.2"), "00080070": ("LO", "Acme")}
    values |= {tag: ("LO", text) for tag, text in attributes.items()}
    return json.dumps({tag: {"vr": vr, "Value": [text]} for tag, (vr, text) in values.items()})


def record(**fields: str) -> str:
    return json.dumps({"SubmittingCentre": "Leeds", "SwabStatus": "Negative", **fields})


def key(patient: str, name: str = "i") -> str:
    return f"training/{patient}/images_metadata/2020-04-01/{name}.json"


def escape(text: str) -> str:
    return text.replace("{SNAPSHOT_", "\\u007bSNAPSHOT\\u005f")


GOOD: dict[str, bytes | str] = {
    **{key(f"P{n}"): header("CT" if n % 2 else "CR") for n in range(40)},
    **{f"training/P{n}/data/2020-04-01/data.json": record(Age=f"{n}") for n in range(40)},
    **{key("Harmless", f"{n}"): header(**{"00081030": text}) for n, text in enumerate(HARMLESS)},
    "training/{Harmless}/data/2020-04-01/data.json": record(),
}
BAD_HEADERS: dict[str, bytes | str] = {
    **{key("Bad", f"modality-{n}"): header(word) for n, word in enumerate(WORDS)},
    key("Bad", "description"): header(**{"00081030": "about {DATA_PATH} it"}),
    key("Bad", "station"): header(**{"00081010": "zz{DATA_PATH}"}),
    key("Bad", "escaped"): escape(header("{SNAPSHOT_ID}")),
    key("Bad", "private"): header(**{"00091001": "{AUTHOR}"}),
    key("Bad", "short"): '{"00080060": {"vr": "CS", "Value": ["{NEXT_FILE_ID}"]}}',
}
BAD_RECORDS: dict[str, bytes | str] = {
    f"training/Bad/data/2020-04-{n:02}/data.json": content
    for n, content in enumerate(
        [
            record(SubmittingCentre="{DATA_PATH}"),
            record(**{"{DATA_PATH}": "1"}),
            record(Comment="a {SNAPSHOT_ID}"),
            escape(record(Comment="{SNAPSHOT_ID}")),
        ],
        1,
    )
}
BAD_KEYS = [
    *(key(word) for word in WORDS),
    *("zz{AUTHOR}.txt", "{DATA_PATH}/P/data/2020-04-01/data.json", key("P1", "{SNAPSHOT_ID}"), "a{ABC}b{DEF}"),
    "training/P1/images/2020-04-01/{DATA_PATH}.dcm",
]


def spell(name: str) -> str:
    """A key as rejects have it."""
    return PLACEHOLDER.sub(lambda found: found[0][:-1] + r"\x7d", name)


def ask(lake: Path, query: str) -> list[tuple[Any, ...]]:
    with warehouse.open(str(lake)) as wh:
        return wh.group("all").sql(query).fetchall()


def read_rejects(lake: Path) -> dict[str, tuple[str, str]]:
    with warehouse.open(str(lake)) as wh:
        rows = wh.group("all").rejects().arrow().read_all().to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: (row["kind"], row["reason"]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("how", [ALONE, WORKERS], ids=["alone", "workers"])
def test_the_bad_are_rejects_and_the_good_are_found(tmp_path: Path, how: Settings, here: Chest) -> None:
    bucket, lake = tmp_path / "bucket", start_lake(tmp_path / "lake")
    write_objects(bucket, GOOD | BAD_HEADERS | BAD_RECORDS | dict.fromkeys(BAD_KEYS, header()))
    (bucket / "{DATA_PATH}.lnk").symlink_to("nowhere")
    done = warehouse.refresh(bucket, lake, settings=how)
    assert (done.images.loaded, done.images.rejected) == (40 + len(HARMLESS), len(BAD_HEADERS))
    assert (done.clinical.loaded, done.clinical.rejected) == (41, len(BAD_RECORDS))

    found = read_rejects(lake)
    assert found.keys() == {*BAD_HEADERS, *BAD_RECORDS, *map(spell, [*BAD_KEYS, "{DATA_PATH}.lnk"])}
    for name in (*BAD_HEADERS, *BAD_RECORDS):
        assert "capitals in braces, which DuckLake may replace" in found[name][1], name
    for name in BAD_KEYS:
        assert found[spell(name)] == (
            "skipped",
            "its key has a word of capitals in braces, which DuckLake may replace: rename the object",
        )
    assert not PLACEHOLDER.search(str(found))

    # Another file in each table: those of the first refresh are found by their statistics alone.
    write_objects(bucket, {key("Zoe"): header("MR"), "training/Zoe/data/2021-04-01/data.json": record()})
    done = warehouse.refresh(bucket, lake, settings=how)
    assert (done.objects.added, done.images.loaded, done.clinical.loaded) == (2, 1, 1)
    assert (done.images.rejected, done.clinical.rejected) == (0, 0)
    count = "select count(*) from images where"
    for where, expected in {
        "Modality = 'CT'": 20 + len(HARMLESS),
        "Modality = 'CR'": 20,
        "Modality <= 'MR'": 41 + len(HARMLESS),
        "patient_id = 'P5'": 1,
        "key like 'training/P%'": 40,
        "StudyDescription = '{data_path}'": 1,
    }.items():
        assert ask(lake, f"{count} {where}") == [(expected,)], where
    assert ask(lake, "select count(*) from clinical where patient_id = '{Harmless}'") == [(1,)]
    assert not warehouse.refresh(bucket, lake, settings=how).published.is_new
    assert here("doctor", "--lake", lake).returncode == 0
    assert here("maintain", "--lake", lake).returncode == 0
    assert here("patient", "P5", "--lake", lake).returncode == 0

    # What is mended is loaded.
    (bucket / "zz{AUTHOR}.txt").unlink()
    write_objects(bucket, dict.fromkeys(BAD_HEADERS, header()))
    done = warehouse.refresh(bucket, lake, settings=how)
    assert done.images.loaded == len(BAD_HEADERS)
    assert read_rejects(lake).keys() == found.keys() - {*BAD_HEADERS, spell("zz{AUTHOR}.txt")}


@pytest.mark.slow
def test_content_that_becomes_bad_leaves_the_earlier_row(tmp_path: Path) -> None:
    bucket, lake = tmp_path / "bucket", start_lake(tmp_path / "lake")
    write_objects(bucket, {key("P"): header(), key("Q"): header()})
    how = Settings(workers=1, max_removals_percent=100)
    warehouse.refresh(bucket, lake, settings=how)
    write_objects(bucket, {key("P"): header("{SNAPSHOT_ID}")})
    for n_rejected in (1, 0):
        assert warehouse.refresh(bucket, lake, settings=how).images.rejected == n_rejected
    assert ask(lake, "select patient_id, Modality from images order by all") == [("P", "CT"), ("Q", "CT")]


@pytest.mark.slow
def test_a_part_of_a_bucket_and_changed_keys(tmp_path: Path) -> None:
    bucket, lake = tmp_path / "bucket", start_lake(tmp_path / "lake")
    write_objects(bucket, {key("P"): header(), key("{SNAPSHOT_ID}"): header(), "zz{AUTHOR}.txt": "x"})
    warehouse.refresh(bucket, lake, prefix="training/", settings=ALONE)
    assert read_rejects(lake).keys() == {spell(key("{SNAPSHOT_ID}"))}
    with warehouse.ingest.open_run(
        str(bucket), str(lake), changed_prefixes=["zz{AUTHOR}.txt", "gone{DATA_PATH}"], settings=ALONE
    ) as run:
        warehouse.ingest.list_objects(run)
        warehouse.ingest.publish(run)
    assert read_rejects(lake).keys() == {spell(key("{SNAPSHOT_ID}")), spell("zz{AUTHOR}.txt")}


@pytest.mark.slow
def test_headers_of_dicom_files(tmp_path: Path) -> None:
    bucket, lake = tmp_path / "bucket", start_lake(tmp_path / "lake")
    files = {
        "a": build_file("P1", "1.1"),
        "b": build_file("{DATA_PATH}", "1.2"),
        "c": build_file("P3", "1.3", StationName="{SNAPSHOT_ID}"),
    }
    write_objects(bucket, files)
    how = Settings(layout="any", workers=1)
    for _ in range(2):
        warehouse.refresh(str(bucket), str(lake), settings=how)
    assert ask(lake, "select key, patient_id from images") == [("a", "P1")]
    assert read_rejects(lake).keys() == {"b", "c"}


@pytest.mark.slow
def test_keys_on_s3(s3: S3, tmp_path: Path) -> None:
    lake = start_lake(tmp_path / "lake")
    objects = {name: header().encode() for name in (key("P1"), key("{SNAPSHOT_ID}"), "zz{DATA_PATH}.txt")}
    s3.put("words", objects)
    for _ in range(2):
        warehouse.refresh("s3://words", str(lake), settings=ALONE)
    assert ask(lake, "select patient_id from images") == [("P1",)]
    assert read_rejects(lake).keys() == {spell(key("{SNAPSHOT_ID}")), spell("zz{DATA_PATH}.txt")}


@pytest.mark.slow
def test_a_key_with_a_nul_stops_no_refresh(s3: S3, tmp_path: Path, here: Chest) -> None:
    """DuckLake writes the first and the last patient of a plan into its own statement, and ended it at the NUL."""
    lake = start_lake(tmp_path / "lake")
    s3.put("nul", {key(name): header().encode() for name in ("P1", "A\0B", "Z\0B) or true --")})
    for _ in range(2):
        warehouse.refresh("s3://nul", str(lake), settings=ALONE)
    assert ask(lake, "select patient_id from images") == [("P1",)]
    found = read_rejects(lake)
    assert {name: reason for name, (_, reason) in found.items()} == {
        key(name): "its key has a zero byte, where a text ends for DuckLake: rename the object"
        for name in ("A\\x00B", "Z\\x00B) or true --")
    }


#: Of the parts of such words, so that many are nearly one.
TEXT = st.lists(
    st.sampled_from(["{", "}", "A", "DATA_PATH", "_", "{SNAPSHOT_ID}", "a", "1", " ", "\\", "'", "é", "\\x7d"]),
    min_size=1,
    max_size=6,
).map("".join)


@pytest.mark.slow
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, min_size=30, max_size=60, unique=True))
@example(["{_A}", "{A_}", "{{A}", "{A}}", "{A", "A}", "{AB}{", "{SNAPSHOT_ID}{SNAPSHOT_ID}", "'{DATA_PATH}'"])
def test_any_text_is_found_or_a_reject(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    place = tmp_path_factory.mktemp("texts")
    bucket, lake = place / "bucket", start_lake(place / "lake")
    write_objects(bucket, {key("P", f"{n}"): header(**{"00204000": text}) for n, text in enumerate(texts)})
    write_objects(bucket, {f"other/{text} {n}": "x" for n, text in enumerate(texts)})
    for last in ("y", "z"):  # the second refresh reads what the first has stored
        write_objects(bucket, {key(last): header()})
        warehouse.refresh(bucket, lake, settings=ALONE)
    bad = {n for n, text in enumerate(texts) if PLACEHOLDER.search(text)}
    loaded = {name for (name,) in ask(lake, "select key from images where patient_id = 'P'")}
    assert loaded == {key("P", f"{n}") for n in range(len(texts)) if n not in bad}
    wanted = {key("P", f"{n}") for n in bad} | {spell(f"other/{texts[n]} {n}") for n in bad}
    assert read_rejects(lake).keys() == wanted


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("words")
    write_objects(place / "bucket", {key("P1"): header(), key("P2"): header("CR")})
    warehouse.refresh(place / "bucket", start_lake(place / "lake"), settings=ALONE)
    return place / "lake"


@pytest.mark.slow(after=6)
@pytest.mark.parametrize(
    "words",
    [
        ["refresh", "{BUCKET}"],
        ["refresh", "BUCKET", "--prefix", "training/{SNAPSHOT_ID}"],
        ["refresh", "BUCKET", "--patient", "{SNAPSHOT_ID}"],
        ["refresh", "BUCKET", "--layout", "{patient}/{DATA_PATH}"],
        ["refresh", "BUCKET", "--layout", "any", "--group", "{DATA_PATH}"],
        ["patient", "{DATA_PATH}"],
        ["download", "{DATA_PATH}", "-o", "OUT"],
        ["sql", "select * from images where Modality = '{DATA_PATH}'"],
        ["sql", "--untrusted", "select * from images where Modality <= '{SNAPSHOT_ID}'"],
        ["sql", "select * from images where Modality = $m", "--param", "m={SNAPSHOT_ID}"],
        ["withdraw", "{DATA_PATH}", "--reason", "asked"],
        ["withdraw", "P1", "--reason", "asked by {AUTHOR}"],
    ],
    ids=" ".join,
)
def test_what_a_user_types_is_refused_in_one_line(lake: Path, tmp_path: Path, here: Chest, words: list[str]) -> None:
    before = ask(lake, "select count(*) from images")
    given = {"BUCKET": lake.with_name("bucket"), "OUT": tmp_path / "out"}
    found = here(*(given.get(word, word) for word in words), "--lake", lake)
    assert (found.returncode, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) == 1
    assert "DuckLake" in found.stderr
    assert ask(lake, "select count(*) from images") == before


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("odd", ["a\0b", "\0", "\udc80", "a\ud800"])
def test_texts_that_duckdb_cannot_take_are_refused_in_one_line(lake: Path, odd: str) -> None:
    """A NUL ended DuckLake's statement within its literal; half of a character is no text for DuckDB."""
    with warehouse.open(lake) as wh:
        calls: list[Callable[[], object]] = [
            lambda: wh.patient(odd),
            lambda: wh.sql("select $word as word", word=odd),
            lambda: wh.sql("select $words as words", words=[["x"], [odd]]),
            lambda: wh.sql("select $word as word", trusted=False, word=odd),
            lambda: wh.sql(f"select '{odd}' as word"),
            lambda: wh.cohort("covid_risk", days_before=odd),
            lambda: wh.cohort("covid_risk").why(odd),
            lambda: wh.cohort("covid_risk").table1(odd),
            lambda: wh.group(odd),
            lambda: wh.as_of(odd),
            lambda: wh.check(odd),
            lambda: warehouse.refresh(lake.with_name("bucket"), lake, patients=[odd]),
            lambda: warehouse.refresh(lake.with_name("bucket"), lake, prefix=f"training/{odd}"),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(UsageError) as caught:
                call()
            assert "\n" not in str(caught.value), number


def test_classes_of_regular_expressions_are_no_such_words(lake: Path, here: Chest) -> None:
    for words in (["sql"], ["sql", "--untrusted"]):
        query = r"select count(*) as n from images where regexp_matches(patient_id, '\p{L}\p{N}')"
        found = here(*words, query, "--format", "csv", "--lake", lake)
        assert (found.returncode, found.stderr, found.stdout) == (0, "", "n\n2\n")


def test_a_lake_is_not_of_such_a_name(tmp_path: Path, here: Chest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DuckLake" in here("status", "--lake", tmp_path / "{DATA_PATH}").stderr
    (tmp_path / "{SNAPSHOT_ID}").mkdir()
    monkeypatch.chdir(tmp_path / "{SNAPSHOT_ID}")
    assert here("status", "--lake", "lake").returncode == 2


def test_the_name_of_who_writes_is_spelt_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = start_lake(tmp_path / "lake")
    write_objects(tmp_path / "bucket", {key("P1"): header()})
    monkeypatch.setitem(os.environ, "LOGNAME", "{DATA_PATH}")
    warehouse.refresh(tmp_path / "bucket", lake, settings=ALONE)
    assert ask(lake, "select patient_id from images") == [("P1",)]


def test_models_and_manifests(lake: Path, tmp_path: Path, here: Chest) -> None:
    cohort = tmp_path / "films.sql"
    cohort.write_text(
        "-- title: Films\n-- question: Which?\n-- grain: image\nselect * from images where Modality <> '{DATA_PATH}'\n"
    )
    assert "The cohort or a parameter has {DATA_PATH}" in here("cohort", "run", cohort, "--lake", lake).stderr
    with pytest.raises(UsageError, match="DuckLake"):
        warehouse.open(str(lake)).patient("{DATA_PATH}")
    assert (
        "The name of the model has {DATA_PATH}" in here("manifest", "model", "5f", "{DATA_PATH}", "--lake", lake).stderr
    )
