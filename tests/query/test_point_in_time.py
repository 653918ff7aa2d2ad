"""As of any day: random histories of a bucket against a plain reading of the rules of the design.

Files of both layouts come, are replaced and go between refreshes; after each, the views as of some days
are compared with the files in the bucket, by the same rules, written once more here.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake, write_objects
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import warehouse

DAYS = [date(2020, 4, 1) + timedelta(days=n) for n in range(5)]
PATIENTS = ["P1", "P2", "P3", "P4"]
SETTINGS = warehouse.Settings(max_removals_percent=100)

#: The values of a clinical file, and its kind in the dated layout.
RECORDS = [({}, "data"), ({"SwabStatus": "Negative"}, "status"), ({"SwabDate": "x", "PMH CKD": 1}, "data")]


#: Its values for the age, the age that is read, and the rule that explains it.
AGES: list[tuple[object, int | None, str]] = [
    (70, 70, ""),
    ("71", 71, ""),
    ("70.6", 71, "rounded"),
    ("old", None, "not_a_number"),
    (" ", None, ""),
    (130, None, "out_of_range"),
]


@dataclass(frozen=True)
class File:
    """An object of the bucket, as the test made it; `day` is its available date."""

    key: str
    what: str
    patient: str
    day: date
    image: str = ""
    kind: str = ""
    centre: str = ""
    written: datetime = datetime(2020, 4, 1, tzinfo=UTC)
    content: str = "{}"
    age: int | None = None
    issue: str = ""


def clinical(patient: str, layout: str, day: date, record: int, centre: str, written: datetime, age: int = 0) -> File:
    fields, kind = RECORDS[record]
    name = "status" if record == 1 else "data"
    key = f"data/{patient}/{name}_{day}.json" if layout == "published" else f"{patient}/data/{day}/data.json"
    kind = name if layout == "published" else kind
    raw, clean, issue = AGES[age]
    # Of another size for any other content: a folder shows a change by time of writing and size alone.
    content = json.dumps({"SubmittingCentre": centre, "Age": raw, **fields}).ljust(200 + 9 * age + 3 * record)
    content = content.ljust(len(content) + len(centre) - 1)
    return File(f"training/{key}", "clinical", patient, day, "", kind, centre, written, content, clean, issue)


def image(patient: str, layout: str, day: date, what: str, name: str, written: datetime) -> File:
    ending = {"header": ".json", "dcm": ".dcm"}[what]
    if layout == "dated":
        key = f"{patient}/images{'_metadata' if what == 'header' else ''}/{day}/{name}{ending}"
    else:
        key = f"xray{'-metadata' if what == 'header' else ''}/{patient}/1.2/1.3/{name}{ending}"
        day = written.date()
    content = json.dumps({"00080018": {"vr": "UI", "Value": [name]}}) if what == "header" else "pixels"
    return File(f"training/{key}", what, patient, day, name, "", "", written, content)


LAYOUT, DAY = st.sampled_from(["dated", "published"]), st.sampled_from(DAYS)
#: Midnight, noon and the last microsecond of a day: files of one day often tie, and days have sharp edges.
MOMENT = st.builds(
    lambda day, seconds: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds),
    DAY,
    st.sampled_from([0, 43_200, 86_399.999999]),
)
AGE = st.integers(0, len(AGES) - 1)
CENTRES = st.sampled_from(["A", "BB", "CCC"])
FILES = st.one_of(
    st.builds(clinical, st.sampled_from(PATIENTS), LAYOUT, DAY, st.integers(0, 2), CENTRES, MOMENT, AGE),
    st.builds(image, st.sampled_from(PATIENTS), LAYOUT, DAY, st.just("header"), st.sampled_from("ij"), MOMENT),
    st.builds(image, st.sampled_from(PATIENTS), LAYOUT, DAY, st.just("dcm"), st.sampled_from("ij"), MOMENT),
)


def by_key(files: list[File]) -> dict[str, File]:
    """At most one file a key, and at most one .dcm an image: the rules do not cover several."""
    kept = {(f.patient, f.image) if f.what == "dcm" else f.key: f for f in files}
    return {f.key: f for f in kept.values()}


#: The bucket as it is before each refresh; the later ones keep some of what was there.
HISTORIES = st.lists(st.lists(FILES, min_size=12, max_size=40), min_size=2, max_size=2)


class Oracle:
    """The rules, read once more: what is known of the live files as of a day."""

    def __init__(self, files: dict[str, File], day: date | None) -> None:
        self.all = list(files.values())
        self.files = [f for f in self.all if day is None or f.day <= day]
        self.history = {f.key for f in self.files if f.what == "clinical"}
        self.headers = [f for f in self.files if f.what == "header"]
        self.clinical = {p: f for p in PATIENTS if (f := self.chosen(p))}

    def chosen(self, patient: str, until: date = date.max) -> File | None:
        files = [f for f in self.files if f.what == "clinical" and f.patient == patient and f.day <= until]
        return max(files, key=lambda f: (f.kind == "data", f.day, f.written, f.key), default=None)

    def changes(self) -> list[tuple[Any, ...]]:
        """Each file of a patient that ever counted beside the one that it took the place of, where the age differs."""
        found = []
        for patient in PATIENTS:
            files = [f for f in self.files if f.what == "clinical" and f.patient == patient]
            first = min((f.day for f in files if f.kind == "data"), default=date.max)
            counted = [f for f in files if f.kind == "data" or f.day < first]
            counted.sort(key=lambda f: (f.kind == "data", f.day, f.written, f.key))
            found += [(old.key, new.key, old.age, new.age, new.day) for old, new in pairwise(counted)]
        return sorted((row for row in found if row[2] != row[3]), key=repr)

    def images(self) -> dict[str, tuple[Any, ...]]:
        dcm = {(f.patient, f.image): f.key for f in self.files if f.what == "dcm"}
        return {f.key: (f.patient, f.day, dcm.get((f.patient, f.image))) for f in self.headers}

    def patients(self) -> dict[str, tuple[Any, ...]]:
        rows = {}
        for patient in PATIENTS:
            facts = [f for f in self.files if f.patient == patient and f.what != "dcm"]
            if not facts:
                continue
            chosen = self.clinical.get(patient)
            status = {"data": "positive", "status": "negative"}[chosen.kind] if chosen else None
            images = sum(f.patient == patient for f in self.headers)
            centre = chosen.centre if chosen else None
            rows[patient] = (min(f.day for f in facts), status, centre, chosen is not None, images)
        return rows


def check(wh: warehouse.Warehouse, files: dict[str, File], day: date | None) -> None:
    then, oracle = wh.as_of(day) if day else wh, Oracle(files, day)
    rows = then.sql("select patient_id, key, kind, submitting_centre, age from clinical").fetchall()
    expected = {p: (f.key, f.kind, f.centre, f.age) for p, f in oracle.clinical.items()}
    assert {row[0]: row[1:] for row in rows} == expected
    rows = then.sql("select key from clinical_history").fetchall()
    assert sorted(row[0] for row in rows) == sorted(oracle.history)
    rows = then.sql("select key, rule from clinical_issues where column_name = 'age' order by all").fetchall()
    assert rows == sorted((f.key, f.issue) for f in oracle.files if f.issue)
    rows = then.sql(
        "select old_key, new_key, old_value::integer, new_value::integer, available_date from clinical_changes "
        "where field = 'age'"
    ).fetchall()
    assert sorted(rows, key=repr) == oracle.changes()
    rows = then.sql("select key, patient_id, available_date, dcm_key from images").fetchall()
    assert {row[0]: row[1:] for row in rows} == oracle.images()
    assert len(rows) == len(oracle.headers)
    columns = "patient_id, available_date, covid_status, submitting_centre, has_clinical, n_images"
    rows = then.sql(f"select {columns} from patients").fetchall()
    assert {row[0]: row[1:] for row in rows} == oracle.patients()
    assert len(rows) == len(oracle.patients())
    known_at = "select key, age from known_at($patient, $day)"
    for patient, until in ("P1", DAYS[1]), ("P2", DAYS[3]):
        chosen = oracle.chosen(patient, until)
        assert then.sql(known_at, patient=patient, day=until).fetchall() == (
            [(chosen.key, chosen.age)] if chosen else []
        )


def write(bucket: Path, files: dict[str, File], before: dict[str, File]) -> None:
    for key in before.keys() - files.keys():
        (bucket / key).unlink()
    for key, file in files.items():
        if file != before.get(key):
            write_objects(bucket, {key: file.content})
            moment = (file.written - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
            os.utime(bucket / key, ns=(moment, moment))


# Not shrunk: a history takes seconds. Its files stand in the message of the test that fails.
@pytest.mark.slow
@settings(
    max_examples=4,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=HISTORIES, keep=st.integers(0, 2))
def test_views_follow_the_rules(tmp_path_factory: pytest.TempPathFactory, history: list[list[File]], keep: int) -> None:
    place = tmp_path_factory.mktemp("history")
    bucket, lake = place / "bucket", str(start_lake(place / "lake"))
    bucket.mkdir()
    before: dict[str, File] = {}
    for added in history:
        kept = list(before.values())[:: keep + 1] if keep else []
        files = by_key([*kept, *added])
        write(bucket, files, before)
        warehouse.refresh(str(bucket), lake, settings=SETTINGS)
        with warehouse.open(lake) as wh:
            for day in (None, DAYS[0], DAYS[2]):
                check(wh, files, day)
        before = files


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two patients: one with three files and an image, one whose only file came late."""
    place = tmp_path_factory.mktemp("fixed")
    noon = datetime(2020, 4, 1, 12, tzinfo=UTC)
    files = [
        clinical("P1", "published", DAYS[0], 1, "A", noon),
        clinical("P1", "dated", DAYS[1], 0, "BB", noon),
        clinical("P1", "published", DAYS[3], 1, "CCC", noon),
        image("P1", "dated", DAYS[2], "header", "i", noon),
        clinical("P2", "dated", DAYS[4], 1, "A", noon),
    ]
    write(place / "bucket", by_key(files), {})
    warehouse.refresh(str(place / "bucket"), str(start_lake(place / "lake")))
    return place / "lake"


@pytest.mark.slow
def test_before_all_data_every_view_is_empty(lake: Path) -> None:
    with warehouse.open(str(lake)) as wh:
        before = wh.as_of("2020-03-31")
        for view in ("patients", "studies", "series", "images", "clinical", "clinical_history", "headers"):
            assert before.sql(f"from {view}").fetchall() == []
        with pytest.raises(warehouse.NotFoundError, match="as of 2020-03-31"):
            before.patient("P1")


def test_in_the_future_all_is_known(lake: Path, here: Any) -> None:
    asked = ("sql", "from patients order by all", "--lake", lake, "--format", "json")
    future = here(*asked, "--as-of", "2999-12-31")
    assert future.stdout == here(*asked).stdout
    assert len(json.loads(future.stdout)) == 2
    assert "is in the future" in future.stderr


def test_a_status_file_never_outdoes_a_data_file(lake: Path) -> None:
    query = "select covid_status, submitting_centre, clinical_date from patients where patient_id = 'P1'"
    with warehouse.open(str(lake)) as wh:
        assert wh.as_of(DAYS[0]).sql(query).fetchall() == [("negative", "A", DAYS[0])]
        for day in DAYS[1:]:
            assert wh.as_of(day).sql(query).fetchall() == [("positive", "BB", DAYS[1])]


def test_known_at_is_never_past_the_as_of_date(lake: Path) -> None:
    with warehouse.open(str(lake)) as wh:
        assert wh.patient("P2").known_at("2020-05-01").fetchall() != []
        early = wh.as_of(DAYS[3])
        assert early.sql("from known_at('P2', '2020-05-01')").fetchall() == []
        chosen = early.patient("P1").known_at("2020-05-01").project("key, available_date").fetchall()
        assert chosen == [("training/P1/data/2020-04-02/data.json", DAYS[1])]
        assert wh.as_of(DAYS[0]).patient("P1").known_at("2020-05-01").project("kind").fetchall() == [("status",)]


def test_relations_keep_their_day(lake: Path) -> None:
    with warehouse.open(str(lake)) as wh:
        early, late = wh.as_of(DAYS[0]).patients(), wh.as_of(DAYS[4]).patients()
        assert (len(early.fetchall()), len(late.fetchall()), len(wh.patients().fetchall())) == (1, 2, 2)


@pytest.mark.parametrize("day", ["2020-02-31", "yesterday", "01/04/2020", "2020-13-01", "20-04-01", "2020-04"])
def test_malformed_days(lake: Path, day: str) -> None:
    with warehouse.open(str(lake)) as wh, pytest.raises(warehouse.UsageError, match=day):
        wh.as_of(day)


@pytest.mark.parametrize("command", [("sql", "select 1"), ("status",)])
def test_a_malformed_day_is_wrong_use(lake: Path, here: Any, command: tuple[str, ...]) -> None:
    refused = here(*command, "--lake", lake, "--as-of", "2020-02-31")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "2020-02-31" in refused.stderr
    assert "Traceback" not in refused.stderr
