"""Several buckets in one lake: never unasked, never depending on who came first, and out again."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Chest, start_lake, write_objects

import warehouse
from warehouse.errors import NotFoundError, RemovalsError, UsageError
from warehouse.ingest.sources import list_sources, remove_source
from warehouse.lake import location
from warehouse.lake import store as lakes
from warehouse.settings import Settings


def header(age: str, description: str) -> str:
    return json.dumps(
        {
            "00080018": {"vr": "UI", "Value": ["1"]},
            "0020000D": {"vr": "UI", "Value": ["2"]},
            "0020000E": {"vr": "UI", "Value": ["3"]},
            "00101010": {"vr": "AS", "Value": [age]},
            "0008103E": {"vr": "LO", "Value": [description]},
            "00081030": {"vr": "LO", "Value": [description]},
            "00080020": {"vr": "DA", "Value": ["20200301"]},
        }
    )


@pytest.fixture
def buckets(tmp_path: Path) -> dict[str, Path]:
    """Two buckets that have the same key, with other contents."""
    for name, age in (("a", "050Y"), ("b", "060Y")):
        write_objects(tmp_path / name, {"training/P/images_metadata/2020-04-01/i.json": header(age, f"from {name}")})
    return {name: tmp_path / name for name in ("a", "b")}


def test_a_second_source_must_be_requested_and_the_order_does_not_matter(
    buckets: dict[str, Path], tmp_path: Path
) -> None:
    answers = []
    for order in ("ab", "ba"):
        lake = str(start_lake(tmp_path / f"lake_{order}"))
        warehouse.refresh(str(buckets[order[0]]), lake)
        with pytest.raises(UsageError, match=r"does not know .*--add-source"):
            warehouse.refresh(str(buckets[order[1]]), lake)
        warehouse.refresh(str(buckets[order[1]]), lake, add_source=True)
        for name in order:  # both are known now
            warehouse.refresh(str(buckets[name]), lake)
        with warehouse.open(lake) as wh:
            answers.append(
                [
                    wh.sql("select age, sex, n_images from patients").fetchall(),
                    wh.sql("select * from series").fetchall(),
                    wh.sql("select * from studies").fetchall(),
                ]
            )
            (row,) = wh.check("patients_of_two_sources")[0].rows.to_pylist()
            assert (row["patient_id"], row["n_images"]) == ("P", 2)
            assert row["sources"] == sorted(str(path) for path in buckets.values())
    assert answers[0] == answers[1]


@pytest.mark.slow
@pytest.mark.parametrize("limited", [False, True], ids=["another source", "another patient"])
def test_a_header_that_newer_rules_reject_does_not_hold_up_the_rest(
    limited: bool, buckets: dict[str, Path], tmp_path: Path
) -> None:
    """Rules are renewed for the whole lake, also where a refresh is of one source, or of one patient."""
    lake, key = str(tmp_path / "lake"), "training/Q/images_metadata/2020-04-01/q.json"
    recorded = "training/Q/data/2020-04-01/data.json"
    write_objects(buckets["b"], {key: header("070Y", "q"), recorded: '{"Age": "70"}'})
    write_objects(buckets["b"], {f"training/R{n}/data/2020-04-01/data.json": "{}" for n in range(4)})
    warehouse.refresh(str(buckets["a"]), lake)
    warehouse.refresh(str(buckets["b"]), lake, add_source=True)
    with lakes.open_writer(location.parse_address(lake), Settings()) as con:  # as an older version had let it in
        con.execute("update raw.headers set header = '{}', reading = null where patient_id = 'Q'")
        con.execute("update raw.records set record = '[]' where patient_id = 'Q'")
        con.execute("update core.images set rules = 'of another version'")
        con.execute("update core.clinical set rules = 'of another version'")
    result = warehouse.refresh(str(buckets["b" if limited else "a"]), lake, patients=["P"] if limited else [])
    assert result.published.is_new
    with warehouse.open(lake) as wh:
        assert wh.sql("select patient_id from images order by all").fetchall() == [("P",), ("P",)]
        assert wh.sql("select count(*) from clinical_history").fetchall() == [(4,)]
        (record, header_) = wh.rejects().select("key, retry, reason").order("key").fetchall()
        assert (record[:2], header_[:2]) == ((recorded, True), (key, True))
        assert ("list" in record[2], "no DICOM tag" in header_[2]) == (True, True)
    warehouse.refresh(str(buckets["b"]), lake)  # the bucket has a good one: it is read again
    with warehouse.open(lake) as wh:
        assert wh.sql("select patient_id from images order by all").fetchall() == [("P",), ("P",), ("Q",)]
        assert wh.sql("select age from clinical where patient_id = 'Q'").fetchall() == [(70.0,)]
        assert wh.rejects().fetchall() == []


@pytest.mark.slow
def test_a_source_within_another_is_refused(buckets: dict[str, Path], tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    warehouse.refresh(str(buckets["a"]), lake)
    with pytest.raises(UsageError, match="count twice"):
        warehouse.refresh(str(buckets["a"] / "training"), lake, add_source=True)


@pytest.mark.slow
def test_a_source_is_listed_and_removed(buckets: dict[str, Path], tmp_path: Path, new_lake: Path, here: Chest) -> None:
    lake, (a, b) = str(new_lake), (str(path) for path in buckets.values())
    assert here("refresh", a, "--lake", lake, "-q").returncode == 0
    refused = here("refresh", b, "--lake", lake, "-q")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert here("refresh", b, "--lake", lake, "-q", "--add-source").returncode == 0
    listed = json.loads(here("source", "list", "--lake", lake, "--format", "json").stdout)
    assert [(row["source"], row["objects"], row["patients"]) for row in listed] == [(a, 1, 1), (b, 1, 1)]
    shutil.rmtree(b)  # it need not be there
    with pytest.raises(RemovalsError):
        remove_source(b, lake)
    with pytest.raises(NotFoundError, match="no source"):
        remove_source(str(tmp_path), lake)
    done = here("source", "remove", b, "--lake", lake, "-q", "--allow-removals")
    assert done.returncode == 0, done.stderr
    with warehouse.open(lake) as wh:
        assert [row["source"] for row in list_sources(wh)] == [a]
        assert wh.sql("select SeriesDescription from series").fetchall() == [("from a",)]
        assert not [one.check.name for one in wh.check() if one.n_rows and one.check.severity == "blocking"]


@pytest.mark.slow
def test_a_part_whose_keys_are_all_gone_is_refreshed(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    for asked in ({"patients": ["A"]}, {"prefix": "training/A/"}):
        lake = str(tmp_path / next(iter(asked)))
        write_objects(bucket, {f"training/{p}/data/2020-04-01/data.json": '{"Age": "5"}' for p in ("A", "B")})
        warehouse.refresh(str(bucket), lake)
        shutil.rmtree(bucket / "training/A")
        for _ in range(2):  # again, it is known to have been there
            warehouse.refresh(str(bucket), lake, allow_removals=True, **asked)  # type: ignore[arg-type]
            with warehouse.open(lake) as wh:
                assert wh.sql("select patient_id from patients").fetchall() == [("B",)]
        with pytest.raises(UsageError, match="matches no object"):
            warehouse.refresh(str(bucket), lake, prefix="training/C/")
