"""MEDS: read back with the schemas of the `meds` package, compared with the views, and never ahead of its day."""

import json
import subprocess
from datetime import date, datetime, time, timedelta
from pathlib import Path

import meds
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Chest, copy_lake
from example_lakes import build_lake

import warehouse
from warehouse.docs import meds_page
from warehouse.errors import UsageError
from warehouse.exports import meds as exporter

DAY_END, IMAGE_TIME = time(23, 59, 59, 999999), time(23, 59, 59)

FILMS = """
patient | image | day        | uploaded   | modality | view
P1      | a     | 2020-04-02 | 2020-04-03 | DX       | PA
P1      | b     | 2020-04-20 | 2020-04-10 | CR       | AP
P2      | c     | 2020-04-05 | 2020-04-05 | CT       | none
"""
RECORDS = """
patient | uploaded   | centre | sex | admitted   | itu | itu_on     | death | died_on    | positive_swab | code_1
P1      | 2020-05-01 | Leeds  | 1   | 2020-04-02 | 1   | 2020-06-09 | 1     | 2020-04-25 | 2020-04-01    | 1
"""


@pytest.fixture(scope="module")
def sample(served_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_lake(served_lake, tmp_path_factory.mktemp("meds") / "lake")


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    return build_lake(tmp_path_factory.mktemp("lake"), FILMS, RECORDS)


def read_events(folder: Path) -> pa.Table:
    """All shards, each valid and sorted, with no subject in two of them."""
    seen: set[int] = set()
    tables = []
    for path in sorted((folder / "data").glob("*.parquet"), key=lambda path: int(path.stem)):
        table = pq.read_table(path)
        meds.DataSchema.validate(table)
        keys = [(row["subject_id"], row["time"] or datetime.min) for row in table.to_pylist()]
        assert keys == sorted(keys)
        assert not seen & {subject for subject, _ in keys}
        seen |= {subject for subject, _ in keys}
        tables.append(table)
    return pa.concat_tables(tables)


def list_events(folder: Path, patient: str) -> list[tuple[str, datetime | None, str]]:
    ids = {r["patient_id"]: r["subject_id"] for r in pq.read_table(folder / "metadata/subjects.parquet").to_pylist()}
    rows = read_events(folder).filter(pc.field("subject_id") == ids[patient]).to_pylist()
    return [(row["code"], row["time"], row["clock"]) for row in rows]


@pytest.mark.slow
def test_labels_may_come_from_a_table_of_ones_own(sample: Path, tmp_path: Path, chest: Chest) -> None:
    (tmp_path / "scored.sql").write_text(
        "-- title: Scores\n-- question: Which studies have a score?\n-- grain: study\n"
        "-- table reads: StudyInstanceUID VARCHAR, score INTEGER\n-- label score: the score\n"
        "select studies.StudyInstanceUID, studies.patient_id, studies.StudyDate, reads.score\n"
        "from studies inner join reads on studies.StudyInstanceUID = reads.StudyInstanceUID\n"
    )
    with warehouse.open(sample) as wh:
        uid = wh.sql("select min(StudyInstanceUID) from studies where StudyDate is not null").fetchall()[0][0]
    (tmp_path / "reads.csv").write_text(f"StudyInstanceUID,score\n{uid},3\n")
    words = (
        "export",
        "--lake",
        sample,
        "--format",
        "meds",
        "--cohort",
        tmp_path / "scored.sql",
        "-o",
        tmp_path / "out",
    )
    done = chest(*words, "--table", f"reads={tmp_path / 'reads.csv'}")
    assert done.returncode == 0, done.stderr
    labels = pq.read_table(tmp_path / "out/labels/scored/score.parquet")
    assert labels["integer_value"].to_pylist() == [3]
    alone = chest("export", "--lake", sample, "-o", tmp_path / "other", "--table", "reads=reads.csv")
    assert (alone.returncode, alone.stderr.count("\n")) == (2, 1)
    assert "belong to --format meds" in alone.stderr


def test_the_package_reads_it_and_its_numbers_are_those_of_the_views(
    sample: Path, tmp_path: Path, chest: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "meds"
    done = chest("export", "--lake", sample, "--format", "meds", "--cohort", "covid_risk", "-o", out)
    assert done.returncode == 0, done.stderr
    events = read_events(out)
    codes = pq.read_table(out / "metadata/codes.parquet")
    meds.CodeMetadataSchema.validate(codes)
    assert set(codes["code"].to_pylist()) == set(events["code"].to_pylist())
    assert codes["description"].null_count == 0
    about = json.loads((out / "metadata/dataset.json").read_text())
    meds.DatasetMetadataSchema.validate(about)
    assert about["meds_version"].startswith("0.4")
    counts = {row["code"]: 0 for row in codes.to_pylist()}
    for code in events["code"].to_pylist():
        counts[code] += 1
    with warehouse.open(str(sample)) as wh:

        def count(query: str) -> int:
            return int(wh.sql(query).fetchall()[0][0])

        assert len(pc.unique(events["subject_id"])) == count("select count(*) from patients")
        assert counts.get("MEDS_DEATH", 0) == count("select count(*) from admissions where has_died")
        assert counts["ICU_ADMISSION"] == count("select count(*) from admissions where was_in_itu")
        assert counts["SWAB//POSITIVE"] == count("select count(*) from swabs where result = 'Positive'")
        assert counts["STUDY//CT"] == count("select count(*) from studies where list_contains(ModalitiesInStudy, 'CT')")
        assert counts["IMAGE//DX//PA"] == count("select count(*) from image_regions where Modality='DX' and view='PA'")
        assert counts["LAB//CRP"] == count("select count(crp_on_admission) from clinical")
        crp = events.filter(pc.field("code") == "LAB//CRP")
        assert pc.sum(crp["numeric_value"]).as_py() == pytest.approx(
            wh.sql("select sum(crp_on_admission) from clinical").fetchall()[0][0], rel=1e-6
        )
        labels = pq.read_table(out / "labels/covid_risk/covid_status.parquet")
        meds.LabelSchema.validate(labels)
        answer = wh.cohort("covid_risk").rows
        assert sorted(labels["categorical_value"].to_pylist()) == sorted(answer["covid_status"].to_pylist())
        assert sorted(labels["prediction_time"].to_pylist()) == sorted(
            datetime.combine(day, IMAGE_TIME) for day in answer["StudyDate"].to_pylist()
        )
        monkeypatch.setattr(exporter, "_SUBJECTS", 7)
        wh.export_meds(tmp_path / "shards")
    assert len([*(tmp_path / "shards/data").iterdir()]) == 6
    assert read_events(tmp_path / "shards").num_rows == events.num_rows
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=out, check=False).returncode == 0


@pytest.mark.slow
def test_nothing_is_dated_before_it_happened_nor_known_before_it_was(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    wh.export_meds(tmp_path / "meds")
    events = list_events(tmp_path / "meds", "P1")

    def at(day: str, moment: time = DAY_END) -> datetime:
        return datetime.combine(date.fromisoformat(day), moment)

    assert ("SEX//M", None, "static") in events
    assert ("IMAGE//DX//PA", at("2020-04-02", IMAGE_TIME), "event") in events
    assert ("ADMISSION", at("2020-04-02"), "event") in events
    assert ("MEDS_DEATH", at("2020-04-25"), "event") in events
    assert ("SWAB//TAKEN", at("2020-04-01"), "event") in events
    # A result without a day of its own, and a reading in hindsight, were known with the record, not on the swab's day.
    assert {moment for code, moment, _ in events if code == "SWAB//POSITIVE"} == {at("2020-05-01")}
    assert ("READING//COVID_CODE_1//CLASSIC/PROBABLE", at("2020-05-01"), "known") in events
    # Days after the upload cannot be right: they count as none.
    assert ("ICU_ADMISSION", at("2020-05-01"), "known") in events
    assert ("IMAGE//CR//AP", at("2020-04-10", IMAGE_TIME), "known") in events


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("day", [date(2020, 4, 1) + timedelta(days=n) for n in (1, 2, 4, 9, 29, 30)])
def test_no_event_is_of_a_later_day(wh: warehouse.Warehouse, tmp_path: Path, day: date) -> None:
    wh.as_of(day).export_meds(tmp_path / "then")
    wh.as_of(day + timedelta(days=1)).export_meds(tmp_path / "next")
    then, following = read_events(tmp_path / "then"), read_events(tmp_path / "next")
    end = datetime.combine(day, DAY_END)
    for row in then.to_pylist():
        assert row["time"] is None or row["time"] <= end
        assert row["known_time"] <= end
        assert row["time"] is None or row["time"] <= row["known_time"]
    known = [row for row in following.to_pylist() if row["known_time"] <= end]
    assert then.num_rows == len(known)  # no record supersedes another here: what is new has the new day


def write_cohort(folder: Path, sql: str) -> Path:
    path = folder / "mine.sql"
    path.write_text(
        "-- title: Mine\n-- question: Which?\n-- grain: patient\n-- label dead: died\n-- label score: a number\n" + sql
    )
    return path


def test_labels_have_the_column_of_their_type_and_splits_their_names(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    sql = (
        "select patient_id, death as dead, 1.5::double as score, date '2020-04-10' as known_at,"
        " case patient_id when 'P1' then 'train' else 'test' end as split from patients"
    )
    cohort = wh.cohort(str(write_cohort(tmp_path, sql)))
    counts = wh.export_meds(tmp_path / "meds", cohort=cohort)
    assert counts["labels"] == 2
    dead = pq.read_table(tmp_path / "meds/labels/mine/dead.parquet")
    score = pq.read_table(tmp_path / "meds/labels/mine/score.parquet")
    splits = pq.read_table(tmp_path / "meds/metadata/subject_splits.parquet")
    meds.LabelSchema.validate(dead)
    meds.LabelSchema.validate(score)
    meds.SubjectSplitSchema.validate(splits)
    assert dead["boolean_value"].to_pylist() == [True]  # that of P2 is not known
    assert score["float_value"].to_pylist() == [1.5, 1.5]
    assert set(dead["prediction_time"].to_pylist()) == {datetime(2020, 4, 10, 23, 59, 59, 999999)}
    assert sorted(splits["split"].to_pylist()) == ["held_out", "train"]


def test_a_split_of_numbers_is_written_as_text(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    sql = "select patient_id, death as dead, 1 as score, date '2020-04-10' as known_at, 5 as split from patients"
    wh.export_meds(tmp_path / "meds", cohort=wh.cohort(str(write_cohort(tmp_path, sql))))
    splits = pq.read_table(tmp_path / "meds/metadata/subject_splits.parquet")
    assert set(splits["split"].to_pylist()) == {"5"}


def test_patients_without_a_day_of_prediction_are_refused(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    cohort = wh.cohort(str(write_cohort(tmp_path, "select patient_id, death as dead, 1 as score from patients")))
    with pytest.raises(UsageError, match="known_at"):
        wh.export_meds(tmp_path / "meds", cohort=cohort)
    assert not (tmp_path / "meds").exists()


def test_the_page_has_the_table_of_codes() -> None:
    page = Path(warehouse.__file__).parent.parent / "docs/meds.md"
    text = page.read_text(encoding="utf-8")
    assert meds_page.fill_page(text) == text, "run make docs"
