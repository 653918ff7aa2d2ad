"""Enforcement: what leaves, leaves under an agreement that is in force, and has only what that covers."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from agreed_lakes import REVOKED, append, find_last, make_lake, read_log
from conftest import Chest, copy_lake

import warehouse
from warehouse.access import log, switch, vocabulary
from warehouse.access.agreements import find_agreement
from warehouse.access.coverage import Cover
from warehouse.access.current import read_current
from warehouse.api import Warehouse
from warehouse.errors import AccessRefusedError, UsageError
from warehouse.lake import location, store, waiting
from warehouse.query.session import attach_as
from warehouse.settings import Settings

Under = Callable[[str], Warehouse]


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that enforces nothing; it is copied, and does not change."""
    return Path(make_lake(tmp_path_factory.mktemp("free"), enforced=False))


@pytest.fixture(scope="module")
def lake(free: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake that enforces its agreements; its log grows, and nothing else of it changes."""
    lake = str(copy_lake(free, tmp_path_factory.mktemp("agreed") / "lake"))
    append(lake, switch.switch_enforcement(True))
    return lake


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cohort") / "films.sql"
    path.write_text(
        "-- title: All images\n-- question: Which images are there?\n-- grain: image\n"
        "select SOPInstanceUID, patient_id, Modality from images\n"
    )
    return str(path)


@pytest.fixture(scope="module")
def opened(lake: str) -> Iterator[Warehouse]:
    with attach_as(Warehouse, lake) as wh:
        yield wh


@pytest.fixture(scope="module")
def under(lake: str, opened: Warehouse) -> Callable[[str], Warehouse]:
    """The lake under an agreement, opened once."""
    events = read_log(lake)
    return cache(lambda agreement: opened.under(Cover.of(find_agreement(events, agreement))))


def ask(here: Chest, lake: str, query: str, agreement: str = "2026-0001", *more: object) -> list[list[str]]:
    """The rows of a query under an agreement, without their head."""
    done = here("sql", query, "--lake", lake, "--agreement", agreement, "--format", "csv", *more)
    assert done.returncode == 0, done.stderr
    return list(csv.reader(io.StringIO(done.stdout)))[1:]


@pytest.mark.slow(after=5)
@pytest.mark.parametrize(
    "words",
    [
        ("sql", "from patients"),
        ("patient", "PatA"),
        ("cohort", "run", "FILMS", "-o", "TMP/rows.csv"),
        ("cohort", "why", "FILMS", "PatA"),
        ("cohort", "attrition", "FILMS", "--suppress", "0"),
        ("export", "-o", "TMP/views"),
        ("manifest", "export", "FILMS", "-o", "TMP/manifest"),
        ("download", "PatA", "-o", "TMP/data"),
        ("report", "-o", "TMP/report.html", "--suppress", "0"),
        ("check", "images_without_clinical", "--suppress", "0"),
    ],
    ids=" ".join,
)
def test_without_an_agreement_nothing_leaves(
    here: Chest, lake: str, films: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    given = [word.replace("FILMS", films).replace("TMP", str(tmp_path)) for word in words]
    before = len(read_log(lake))
    done = here(*given, "--lake", lake)
    assert (done.returncode, done.stdout) == (1, "")
    assert "only under an agreement" in done.stderr
    assert not list(tmp_path.iterdir())
    refusals = read_log(lake)[before:]
    assert [event.event for event in refusals] == [vocabulary.REFUSED]
    assert refusals[0].body["what"].startswith(f"chest {words[0]}")


@pytest.mark.slow
def test_rounded_counts_need_no_agreement(here: Chest, lake: str, tmp_path: Path) -> None:
    assert here("report", "-o", tmp_path / "report.html", "--lake", lake).returncode == 0


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("agreement", "reason"),
    [
        ("2026-0005", "ended on"),
        ("2026-0006", "starts on"),
        (REVOKED, "was revoked on"),
        ("2026-0008", "The data are for DUO:0000007, which does not include DUO:0000042."),
    ],
)
def test_an_agreement_that_is_not_in_force_is_refused(here: Chest, lake: str, agreement: str, reason: str) -> None:
    done = here("sql", "from patients", "--lake", lake, "--agreement", agreement)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"greement {agreement}" in done.stderr
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    refusal = find_last(lake, vocabulary.REFUSED)
    assert (refusal.about, refusal.body["what"]) == (agreement, "chest sql")
    assert reason in refusal.body["reason"]


def test_a_clock_that_is_set_back_makes_no_agreement_valid(here: Chest, free: Path, tmp_path: Path) -> None:
    """The log has an event of a later day than this computer's clock shows, on which the agreement had ended."""
    own = copy_lake(free, tmp_path / "lake")
    with store.open_writer(location.parse_address(str(own)), Settings()) as con:
        last = replace(log.read_rows(con)[-1], at=datetime.now(UTC) + timedelta(days=150))
        (later,) = log.chain_events(last, [log.NewEvent(vocabulary.REMARKED, "2026-0001")])
        store.transact(con, "later", lambda: log.insert_events(con, [later]), access=log.describe_head([later]))
    done = here("sql", "from patients", "--lake", own, "--agreement", "2026-0001", "-o", tmp_path / "rows.csv")
    assert (done.returncode, done.stdout, (tmp_path / "rows.csv").exists()) == (1, "", False)
    assert "Agreement 2026-0001 ended on" in done.stderr


def test_an_unknown_agreement_is_a_wrong_word(here: Chest, lake: str) -> None:
    done = here("sql", "from patients", "--lake", lake, "--agreement", "2026-0011")
    assert done.returncode == 2
    assert "There is no agreement '2026-0011'." in done.stderr


@pytest.mark.slow(after=5)
@pytest.mark.parametrize(
    ("agreement", "query", "reason"),
    [
        ("2026-0002", "select * from images where Modality = 'CR'", "does not cover modality CR; it covers CT."),
        ("2026-0003", "select * from clinical where centre = 'york east'", "does not cover centre york east"),
        ("2026-0003", "from clinical where submitting_centre = $c", "does not cover centre york east"),
        ("2026-0004", "select sex from clinical", "does not cover the field sex of clinical; it covers age."),
        ("2026-0004", "select itu_admission from patients", "does not cover the field itu_admission of patients"),
        ("2026-0004", "select was_in_itu from admissions", "does not cover the field was_in_itu of admissions"),
        ("2026-0004", "select c.sex from known_at('PatA', '2020-06-01') as c", "does not cover the field sex"),
        ("2026-0004", "select patient_id from clinical where sex = 'F'", "does not cover the field sex"),
        ("2026-0004", "select a.age from clinical as a join clinical as b using (sex)", "does not cover the field sex"),
        ("2026-0009", "select age from clinical", "does not cover the field age of clinical; it covers none."),
    ],
)
def test_to_name_what_is_not_covered_is_refused(under: Under, agreement: str, query: str, reason: str) -> None:
    given = {"c": "York East"} if "$c" in query else {}
    with pytest.raises(AccessRefusedError, match=re.escape(reason)):
        under(agreement).sql(query, **given)


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        ("validation", "does not cover group validation; it covers groups training."),
        ("all", "covers groups training, not all groups."),
    ],
)
def test_another_group_is_refused(here: Chest, lake: str, group: str, reason: str) -> None:
    done = here("sql", "from patients", "--group", group, "--lake", lake, "--agreement", "2026-0001")
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    refusal = find_last(lake, vocabulary.REFUSED)
    assert (refusal.about, reason in refusal.body["reason"]) == ("2026-0001", True)


@pytest.mark.slow
def test_what_is_not_covered_is_not_in_the_answer(under: Under, films: str) -> None:
    def find(query: str, agreement: str) -> list[tuple[object, ...]]:
        return under(agreement).sql(query).fetchall()

    everyone = "select patient_id from patients order by 1"
    assert find(everyone, "2026-0001") == [("PatA",), ("PatB",), ("PatC",)]
    assert find(everyone, "2026-0003") == [("PatA",)]
    assert find(everyone, "2026-0009") == [("PatA",), ("PatB",), ("PatC",)]
    with under("2026-0010").group("all") as whole:
        assert whole.sql(everyone).fetchall() == [("PatA",), ("PatB",), ("PatC",), ("PatV",)]
    images = "select Modality, count(*) from images group by 1 order by 1"
    assert find(images, "2026-0001") == [("CR", 2), ("CT", 1), ("DX", 1)]
    assert find(images, "2026-0002") == [("CT", 1)]
    assert find(images, "2026-0003") == [("CR", 1), ("CT", 1)]
    assert find("select count(*) from headers", "2026-0002") == [(1,)]
    assert find("select max(n_images) from patients", "2026-0002") == [(1,)]
    assert find("select count(*) from studies", "2026-0002") == [(1,)]
    assert find("select count(*) from clinical_history", "2026-0003") == [(1,)]
    assert find("select count(*) from clinical_history", "2026-0009") == [(0,)]
    assert find("select distinct covid_status from patients", "2026-0009") == [(None,)]
    assert [len(wh.patients()) for wh in map(under, ("2026-0001", "2026-0003"))] == [3, 1]
    assert under("2026-0003").cohort(films).rows.column("patient_id").unique().to_pylist() == ["PatA"]


@pytest.mark.slow
def test_a_field_that_is_not_covered_has_no_value(under: Under) -> None:
    held = under("2026-0004")
    (first, second) = held.sql("from clinical order by patient_id").to_arrow_table().to_pylist()
    assert (first["age"], first["sex"], first["date_of_admission"]) == (60, None, None)
    assert (second["age"], second["sex"], second["centre"]) == (50, None, "york east")
    assert {row["itu_admission"] for row in held.sql("from patients").to_arrow_table().to_pylist()} == {None}
    assert {row["was_in_itu"] for row in held.sql("from admissions").to_arrow_table().to_pylist()} == {None}
    fields = held.sql("select distinct column_name from completeness order by 1").fetchall()
    assert fields == [("age",), ("pseudonym",), ("submitting_centre",)]


@pytest.mark.slow
def test_an_older_day_and_another_cursor_show_no_more(under: Under) -> None:
    held = under("2026-0003")
    for other in (held.as_of("2020-03-04"), held.cursor(), held.sandboxed(), held.without_limits()):
        assert set(other.sql("select patient_id from images").fetchall()) <= {("PatA",)}
    with held.at_snapshot(held.snapshot.number) as again:
        assert again.sql("select patient_id from patients").fetchall() == [("PatA",)]


def test_a_query_that_names_more_than_is_covered_is_told_so(here: Chest, lake: str) -> None:
    done = here(
        "sql", "select Modality from images where Modality in ('CT', 'CR')", "--lake", lake, "--agreement", "2026-0002",
        "--format", "csv",
    )  # fmt: skip
    assert done.stdout.split() == ["Modality", "CT"]
    assert "does not cover modality CR: their rows are not in the answer" in done.stderr


@pytest.mark.parametrize(
    "query",
    [
        "from lake.main.patients",
        "from main.patients",
        "from core.images",
        "from lake.access.events",
        "from read_parquet('lake/data/*.parquet')",
        "select error(patient_id) from images",
        "from __ducklake_metadata_lake.ducklake_snapshot",
        "select 1 from images where cast(patient_id || Modality as integer) = 1",
        "select 1 from clinical_history where cast(patient_id || centre as integer) = 1",
        "select 1 from headers where cast(patient_id || key as integer) = 1",
    ],
)
def test_no_query_leads_past_the_agreement(under: Under, query: str) -> None:
    with pytest.raises(UsageError) as refused:
        under("2026-0003").sql(query)
    assert not [name for name in ("PatB", "PatC", "PatV") if name in str(refused.value)]


@pytest.mark.slow
def test_a_release_is_logged_without_a_patient(here: Chest, lake: str, tmp_path: Path) -> None:
    ask(here, lake, "select patient_id from patients", "2026-0003")
    released = find_last(lake, vocabulary.RELEASED)
    assert released.about == "2026-0003"
    body = released.body
    assert (body["what"], body["patients"], body["rows"], body["group"]) == ("chest sql", 1, 1, "training")
    assert body["patients_digest"].startswith("hmac-sha256:")
    ask(here, lake, "select patient_id from patients where patient_id = 'PatA'", "2026-0003")
    assert find_last(lake, vocabulary.RELEASED).body["patients_digest"] == body["patients_digest"]
    assert "Pat" not in "".join(event.text for event in read_log(lake))
    assert log.verify_chain(read_log(lake)) == []


@pytest.mark.slow
def test_a_cohort_takes_no_more_than_is_covered(here: Chest, lake: str, films: str, tmp_path: Path) -> None:
    done = here("cohort", "run", films, "--lake", lake, "--agreement", "2026-0002", "--format", "json")
    assert [row["Modality"] for row in json.loads(done.stdout)] == ["CT"]
    folder = tmp_path / "manifest"
    done = here("manifest", "export", films, "--lake", lake, "--agreement", "2026-0003", "-o", folder)
    assert done.returncode == 0, done.stderr
    about = json.loads((folder / "manifest.json").read_text())
    assert (about["agreement"], about["counts"]["patients"], about["counts"]["images"]) == ("2026-0003", 1, 2)
    released = find_last(lake, vocabulary.RELEASED)
    assert (released.body["digest"], released.body["patients"]) == (about["digest"], 1)


@pytest.mark.slow
def test_exports_have_what_is_covered(here: Chest, lake: str, tmp_path: Path) -> None:
    done = here("export", "--lake", lake, "--agreement", "2026-0004", "-o", tmp_path / "views", "--format", "csv")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "views" / "clinical.csv").read_text()
    assert ",60," in text
    assert ",F," not in text
    done = here("export", "--lake", lake, "--agreement", "2026-0003", "-o", tmp_path / "meds", "--format", "meds")
    assert done.returncode == 0, done.stderr
    assert "1 subject," in done.stderr
    done = here("patient", "PatB", "--lake", lake, "--agreement", "2026-0003")
    assert done.returncode == 1
    assert "agreement 2026-0003" in done.stderr


@pytest.mark.slow
def test_whole_files_and_tables_are_of_no_agreement(here: Chest, lake: str, under: Under) -> None:
    done = here("patient", "PatA", "--lake", lake, "--agreement", "2026-0004", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [row["record"] for row in json.loads(done.stdout)["clinical_history"]] == [None]
    done = here("sql", "from changes", "--since", "1", "--lake", lake, "--agreement", "2026-0001")
    assert done.returncode == 1
    assert "does not cover changes" in done.stderr
    with pytest.raises(AccessRefusedError, match="does not cover check new_field"):
        under("2026-0001").check("new_field")
    names = {result.check.name for result in under("2026-0003").check()}
    assert "images_without_clinical" in names
    assert "same_bytes" not in names
    assert under("2026-0003").check("images_without_clinical")[0].n_rows == 0
    assert under("2026-0001").check("images_without_clinical")[0].n_rows == 1


def test_the_environment_names_the_agreement(here: Chest, lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_AGREEMENT", "2026-0003")
    done = here("sql", "select patient_id from patients", "--lake", lake, "--format", "csv")
    assert done.stdout.split() == ["patient_id", "PatA"]


def test_what_cannot_be_logged_does_not_leave(
    here: Chest, lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copy_lake(Path(lake), tmp_path / "lake")
    monkeypatch.setattr(waiting, "SECONDS", 0.0)
    with store.open_writer(location.parse_address(str(own)), Settings()):
        done = here("sql", "from patients", "--lake", own, "--agreement", "2026-0001")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The log of access cannot be written" in done.stderr


@pytest.mark.slow
def test_a_lake_that_enforces_nothing_asks_for_nothing(here: Chest, free: Path, tmp_path: Path) -> None:
    lake = str(copy_lake(free, tmp_path / "lake"))
    done = here("sql", "select patient_id from patients order by 1", "--lake", lake, "--format", "csv")
    assert done.stdout.split() == ["patient_id", "PatA", "PatB", "PatC"]
    assert ask(here, lake, "select patient_id from patients", "2026-0003") == [["PatA"]]
    assert find_last(lake, vocabulary.RELEASED).about == "2026-0003"
    assert here("sql", "from patients", "--lake", lake, "--agreement", "2026-0005").returncode == 1


@pytest.mark.slow
def test_an_agreement_revoked_while_a_lake_is_open_lets_nothing_more_leave(
    films: str, tmp_path: Path, free: Path
) -> None:
    lake = str(copy_lake(free, tmp_path / "lake"))
    append(lake, switch.switch_enforcement(True))
    with warehouse.open(lake, agreement="2026-0001") as wh, attach_as(Warehouse, lake) as other:
        assert wh.cohort(films).export(tmp_path / "before").digest
        append(lake, log.NewEvent(vocabulary.REVOKED, "2026-0001"))
        assert find_last(lake, vocabulary.REVOKED) == read_current(other.con, other.location)[-1]
        with pytest.raises(AccessRefusedError, match="2026-0001 was revoked"):
            wh.cohort(films).export(tmp_path / "after")
    assert not (tmp_path / "after").exists()
    assert find_last(lake, vocabulary.REFUSED).about == "2026-0001"


@pytest.mark.slow
def test_a_download_asks_again(here: Chest, films: str, tmp_path: Path, lake: str) -> None:
    """An agreement that has ended since the export ends the download; one that still holds does not."""
    own = copy_lake(Path(lake), tmp_path / "lake")
    folder, data = tmp_path / "manifest", tmp_path / "data"
    done = here("manifest", "export", films, "--lake", own, "--agreement", "2026-0003", "-o", folder)
    assert done.returncode == 0, done.stderr
    done = here("manifest", "download", folder, "-o", data, "--lake", own)
    assert done.returncode == 0, done.stderr
    released = find_last(str(own), vocabulary.RELEASED)
    assert (released.about, released.body["what"]) == ("2026-0003", "chest manifest download")
    assert (released.body["objects"], released.body["patients"]) == (4, 1)
    done = here("manifest", "download", folder, "-o", tmp_path / "more", "--lake", tmp_path / "none")
    assert done.returncode == 1
    assert "can only be seen in its lake" in done.stderr
    append(str(own), log.NewEvent(vocabulary.REVOKED, "2026-0003"))
    done = here("manifest", "download", folder, "-o", tmp_path / "more", "--lake", own)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Agreement 2026-0003 was revoked on" in done.stderr
    assert find_last(str(own), vocabulary.REFUSED).body["what"] == "chest manifest download"
    assert not list((tmp_path / "more").glob("training/**/*"))


@pytest.mark.slow
def test_a_manifest_of_more_than_is_covered_is_not_downloaded(
    here: Chest, films: str, tmp_path: Path, free: Path
) -> None:
    lake = str(copy_lake(free, tmp_path / "lake"))
    folder = tmp_path / "manifest"
    assert here("manifest", "export", films, "--lake", lake, "-o", folder).returncode == 0
    append(lake, switch.switch_enforcement(True))
    done = here("manifest", "download", folder, "-o", tmp_path / "data", "--lake", lake)
    assert done.returncode == 1
    assert "only under an agreement" in done.stderr
    done = here("manifest", "download", folder, "-o", tmp_path / "data", "--lake", lake, "--agreement", "2026-0003")
    assert done.returncode == 1
    assert "does not cover 4 of the 8 objects of the manifest" in done.stderr
    done = here("manifest", "download", folder, "-o", tmp_path / "data", "--lake", lake, "--agreement", "2026-0001")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_patient_is_downloaded_as_far_as_covered(here: Chest, tmp_path: Path, lake: str) -> None:
    own, data = copy_lake(Path(lake), tmp_path / "lake"), tmp_path / "data"
    done = here("download", "PatA", "-o", data, "--lake", own, "--agreement", "2026-0002")
    assert done.returncode == 0, done.stderr
    assert len(list(data.rglob("*.dcm"))) == 1
    done = here("download", "PatB", "-o", tmp_path / "more", "--lake", own, "--agreement", "2026-0003")
    assert done.returncode == 1
    assert "under agreement 2026-0003" in done.stderr
