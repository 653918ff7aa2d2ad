"""Why a patient is not in a cohort, and the step that excluded each one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import Chest
from example_lakes import build_lake

import warehouse

FILMS = """
patient | image | study | day
in      | i1    | I     | 2020-04-02
late    | l1    | L     | 2020-04-20
late    | l2    | L     | 2020-04-21
lone    | o1    | O     | 2020-04-02
second  | s1    | I     | 2020-04-03
"""
RECORDS = """
patient | uploaded   | positive_swab
in      | 2020-05-01 | 2020-04-01
late    | 2020-05-01 | 2020-04-01
second  | 2020-05-01 | 2020-04-01
paper   | 2020-05-01 | 2020-04-01
"""
HEAD = "-- title: T\n-- question: Q?\n-- param days INTEGER = 7: the most days\n"
STEPS = """\
with
-- Films.
films as (
    select patient_id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, StudyDate from chest_films
),

-- Near a swab.
near as (
    select films.*, swabs.swab_date
    from films
    inner join swabs on films.patient_id = swabs.patient_id
    where films.StudyDate - swabs.swab_date <= $days and films.StudyDate is not null
),

-- The first of its study.
first_ones as (
    select * from near
    qualify row_number() over (partition by StudyInstanceUID order by StudyDate) = 1
)

"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("why")
    build_lake(root, FILMS, RECORDS).close()
    for grain, column in (("image", "SOPInstanceUID"), ("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")):
        (root / f"{grain}.sql").write_text(f"{HEAD}-- grain: {grain}\n{STEPS}select {column} from first_ones\n")
    (root / "patient.sql").write_text(f"{HEAD}-- grain: patient\n{STEPS}select distinct patient_id from first_ones\n")
    return root


@pytest.fixture(scope="module")
def wh(root: Path) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(str(root / "lake"), trusted=False) as opened:
        yield opened


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("grain", ["image", "series", "patient"])
def test_each_excluded_patient_has_the_step_that_excluded_them(wh: warehouse.Warehouse, root: Path, grain: str) -> None:
    rows = wh.cohort(root / f"{grain}.sql").excluded().to_pylist()
    assert [(row["patient_id"], row["step"], row["after"]) for row in rows] == [
        ("late", "near", "films"),
        ("lone", "near", "films"),
        ("paper", "films", None),
        ("second", "first_ones", "near"),
    ]
    assert rows[0]["meaning"] == "Near a swab."
    assert wh.cohort(root / f"{grain}.sql", days=100).excluded().num_rows == 3
    both = {row["patient_id"] for row in rows} | {"in"}
    assert both == {row[0] for row in wh.patients().project("patient_id").fetchall()}


@pytest.mark.slow
def test_the_values_that_excluded_a_row_are_shown(wh: warehouse.Warehouse, root: Path) -> None:
    cohort = wh.cohort(root / "image.sql")
    late = cohort.why("late")
    assert (late.is_in, late.step, late.after, late.n_rows) == (False, "near", "films", 2)
    assert [(f.ids["SOPInstanceUID"], f.outcome) for f in late.failures] == [("l1", "false"), ("l2", "false")]
    assert "swab_date" in late.failures[0].condition
    assert {str(value) for value in late.failures[0].values.values()} == {"2020-04-20", "2020-04-01"}
    lone = cohort.why("lone")
    conditions = {(f.condition.split(" ON ")[0], f.outcome) for f in lone.failures}
    assert ("INNER JOIN swabs", "false") in conditions, "no swab at all"
    assert any(outcome == "null" for _, outcome in conditions)
    second = cohort.why("second")
    assert (second.step, second.after, len(second.failures)) == ("first_ones", "near", 1)
    assert "ROW_NUMBER()" in second.failures[0].condition
    assert cohort.why("in").is_in
    paper = cohort.why("paper")
    assert (paper.step, paper.after, paper.n_rows) == ("films", "chest_films", 0)
    assert "chest_films has no row of this patient" in str(paper)


def test_an_unknown_patient_is_distinguished_from_one_of_another_group_or_day(
    wh: warehouse.Warehouse, root: Path
) -> None:
    file = root / "image.sql"
    with pytest.raises(warehouse.NotFoundError, match="There is no patient 'nobody' in this lake"):
        wh.cohort(file).why("nobody")
    with pytest.raises(warehouse.NotFoundError, match="No data of patient 'in' were available as of 2020-01-01"):
        wh.cohort(file, as_of="2020-01-01").why("in")
    with pytest.raises(warehouse.NotFoundError, match="Patient 'in' is not in group validation"):
        wh.group("validation").cohort(file).why("in")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        (" and ".join(["length(patient_id) > 0"] * 1500) + " and patient_id = 'x'", "patient_id = 'x'"),
        ("date 'infinity' < StudyDate", "CAST('infinity' AS DATE) < StudyDate"),
        ("length(patient_id) - 2", "LENGTH(patient_id) - 2"),
    ],
)
def test_conditions_of_any_number_and_type_are_explained(
    wh: warehouse.Warehouse, tmp_path: Path, condition: str, shown: str
) -> None:
    path = tmp_path / "c.sql"
    path.write_text(
        f"-- title: T\n-- question: Q?\n-- grain: patient\nselect distinct patient_id from images where {condition}\n"
    )
    why = wh.cohort(path).why("in")
    assert [(failure.condition, failure.outcome) for failure in why.failures] == [(shown, "false")]


def test_values_that_python_does_not_have_are_shown(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "c.sql"
    head = "-- title: T\n-- question: Q?\n-- grain: patient\n"
    path.write_text(
        f"{head}with a as (select patient_id, date 'infinity' as day from patients)\n"
        "select patient_id from a where day < date '2020-01-01'\n"
    )
    assert wh.cohort(path).why("in").failures[0].values == {"day": "infinity"}
    path.write_text(f"{head}select patient_id, date 'infinity' as day, date '9999-12-31' as last from patients\n")
    with pytest.raises(warehouse.UsageError, match=r"c\.sql:4: day has a day before year 1 or after year 9999"):
        _ = wh.cohort(path).rows


def test_a_table_of_the_users_own_may_be_where_a_step_begins(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "c.sql"
    path.write_text("-- title: T\n-- question: Q?\n-- grain: patient\nselect patient_id from reads where score > 1\n")
    why = wh.cohort(path, tables={"reads": pa.table({"patient_id": ["in"], "score": [1]})}).why("in")
    assert (why.n_rows, why.failures[0].values) == (1, {"score": "1"})


@pytest.mark.slow
def test_the_commands(root: Path, here: Chest, tmp_path: Path) -> None:
    lake = ("--lake", root / "lake")
    done = here("cohort", "why", root / "image.sql", "late", *lake, "--format", "json")
    rows = json.loads(done.stdout)
    assert [(row["SOPInstanceUID"], row["is"]) for row in rows] == [("l1", "false"), ("l2", "false")]
    assert "<= $days" in rows[0]["condition"]
    assert "late is excluded by step near" in done.stderr
    done = here("cohort", "why", root / "image.sql", "in", *lake)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "in is in the answer.\n")
    assert here("cohort", "excluded", root / "image.sql", *lake, "-o", tmp_path / "out.csv").returncode == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "late,near,films,Near a swab."
    assert here("cohort", "why", root / "image.sql", "no\x1bbody", *lake).stderr.count("\x1b") == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["covid_risk", "ventilation", "longitudinal_ct", "teaching_set"])
def test_every_excluded_patient_of_a_shipped_cohort_is_explained(wh: warehouse.Warehouse, name: str) -> None:
    cohort = wh.cohort(name)
    for row in cohort.excluded().to_pylist():
        assert cohort.why(row["patient_id"]).step == row["step"]
