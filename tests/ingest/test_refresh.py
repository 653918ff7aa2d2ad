"""A refresh: objects come, change and go; groups, prefixes, sources; stopped midway; snapshots."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import write_objects

import warehouse
from warehouse import synthetic
from warehouse.lake import location
from warehouse.lake import store as lakes
from warehouse.settings import Settings

SETTINGS = Settings(max_removals_percent=100)


def header(patient: str = "P0", **more: str) -> str:
    values = {"00080018": "1.2.3", "00080060": "CT", "00100020": patient, **more}
    return json.dumps({tag: {"vr": "LO", "Value": [value]} for tag, value in values.items()})


def person(name: str, group: str = "training") -> dict[str, str]:
    """The three objects of a patient in the dated layout."""
    return {
        f"{group}/{name}/images_metadata/2020-04-01/i{name}.json": header(name),
        f"{group}/{name}/images/2020-04-01/i{name}.dcm": f"pixels of {name}",
        f"{group}/{name}/data/2020-04-02/data.json": json.dumps({"SubmittingCentre": "Leeds"}),
    }


def write_at(bucket: Path, key: str, content: str, day: str) -> None:
    """Write an object as if at noon (UTC) of a day."""
    write_objects(bucket, {key: content})
    noon = datetime.fromisoformat(f"{day}T12:00:00+00:00").astimezone(UTC).timestamp()
    os.utime(bucket / key, (noon, noon))


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """Ten patients of three objects each."""
    folder = tmp_path / "bucket"
    for number in range(10):
        write_objects(folder, person(f"P{number}"))
    return folder


@pytest.fixture
def lake(new_lake: Path) -> Path:
    return new_lake


def refresh(bucket: Path, lake: Path, **options: Any) -> Any:
    return warehouse.refresh(str(bucket), str(lake), **{"settings": SETTINGS, "add_source": True, **options})


def ask(lake: Path, query: str, group: str = "all", **options: Any) -> list[tuple[Any, ...]]:
    with warehouse.open(str(lake), **options) as wh:
        return wh.group(group).sql(query).fetchall()


def content(lake: Path, where: str = "true") -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the lake that comes from a bucket."""
    tables = ("raw.objects", "raw.headers", "raw.records", "core.images", "core.clinical")
    with warehouse.open(str(lake)) as wh:
        rows = {t: wh.sql(f"from {t} where {where} order by source, key").fetchall() for t in tables}
        columns = "source, key, etag, reason"
        return rows | {
            "ops.rejects": wh.sql(f"select {columns} from ops.rejects where {where} order by all").fetchall()
        }


def keys_of(lake: Path) -> dict[str, set[str]]:
    return {table: {row[1] for row in rows} for table, rows in content(lake).items()}


def test_objects_are_added_changed_and_removed(bucket: Path, lake: Path, tmp_path: Path) -> None:
    first = refresh(bucket, lake)
    assert (first.objects.added, first.images.loaded, first.clinical.loaded) == (30, 10, 10)
    assert first.published.is_new

    new, image = person("P10"), "training/P0/images_metadata/2020-04-01/iP0.json"
    gone = ["training/P1/images_metadata/2020-04-01/iP1.json", "training/P2/data/2020-04-02/data.json"]
    write_objects(bucket, new)
    write_objects(bucket, {image: header("P0", **{"00081030": "changed"})})
    record = "training/P3/data/2020-04-02/data.json"
    os.utime(bucket / record, (1_600_000_000, 1_600_000_000))  # written again, the same bytes
    for key in gone:
        (bucket / key).unlink()

    second = refresh(bucket, lake)
    found = second.objects
    assert (found.listed, found.added, found.changed, found.removed) == (31, 3, 2, 2)
    assert (second.images.loaded, second.clinical.loaded) == (2, 2)
    tables = keys_of(lake)
    for key in gone:
        assert not any(key in keys for keys in tables.values())
    assert {f"{image}"} <= tables["core.images"] & tables["raw.headers"]
    assert ask(lake, f"select StudyDescription from images where key = '{image}'") == [("changed",)]
    assert ask(lake, f"select epoch(last_modified) from clinical_history where key = '{record}'") == [(1_600_000_000,)]

    refresh(bucket, tmp_path / "fresh")
    assert content(lake) == content(tmp_path / "fresh")


def test_nothing_new_makes_no_snapshot(bucket: Path, lake: Path) -> None:
    first = refresh(bucket, lake).published
    with warehouse.open(str(lake)) as wh:
        before = len(lakes.list_snapshots(wh.con))
    second = refresh(bucket, lake).published
    with warehouse.open(str(lake)) as wh:
        assert len(lakes.list_snapshots(wh.con)) == before
    assert (second.is_new, second.snapshot) == (False, first.snapshot)


@pytest.mark.slow
def test_many_removals_are_refused(bucket: Path, lake: Path, here: Any) -> None:
    refresh(bucket, lake)
    for number in range(3):
        (bucket / f"training/P{number}/data/2020-04-02/data.json").unlink()
    removed = warehouse.refresh(str(bucket), str(lake)).objects.removed
    assert removed == 3, "3 of 30 are 10 %, not more"

    shutil.rmtree(bucket / "training/P9")
    before = content(lake)
    refused = here("refresh", bucket, "--lake", lake)
    assert refused.returncode == 1
    assert "--allow-removals" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert content(lake) == before

    allowed = here("refresh", bucket, "--lake", lake, "--allow-removals", "--format", "json")
    assert json.loads(allowed.stdout)["objects"]["removed"] == 3
    assert ask(lake, "select count(*) from patients") == [(9,)]


@pytest.mark.slow
def test_prefix_touches_nothing_outside_it(bucket: Path, lake: Path) -> None:
    refresh(bucket, lake)
    outside = "not starts_with(key, 'training/P1/')"
    before = content(lake, outside)
    write_objects(bucket, person("P11") | {"training/P1/data/2020-05-01/data.json": "{}"})
    write_objects(bucket, {"training/P4/data/2020-04-02/data.json": '{"SubmittingCentre": "elsewhere"}'})
    shutil.rmtree(bucket / "training/P3")
    (bucket / "training/P1/images/2020-04-01/iP1.dcm").unlink()

    found = refresh(bucket, lake, prefix="training/P1/").objects
    assert (found.listed, found.added, found.changed, found.removed) == (3, 1, 0, 1)
    assert content(lake, outside) == before
    assert ask(lake, "select dcm_key from images where patient_id = 'P1'") == [(None,)]
    assert ask(lake, "select count(*) from clinical_history where patient_id = 'P1'") == [(2,)]


@pytest.mark.slow
def test_prefix_may_end_within_a_name(bucket: Path, lake: Path) -> None:
    write_objects(bucket, person("P10"))
    assert refresh(bucket, lake, prefix="training/P1").objects.listed == 6
    assert ask(lake, "select patient_id from patients order by 1") == [("P1",), ("P10",)]


@pytest.mark.slow
def test_dcm_follows_the_bucket(bucket: Path, lake: Path) -> None:
    key = "training/P0/images/2020-04-01/iP0.dcm"
    query = "select dcm_key, dcm_size, dcm_etag is not null from images where patient_id = 'P0'"
    (bucket / key).unlink()
    refresh(bucket, lake)
    assert ask(lake, query) == [(None, None, False)]

    for pixels in ("some pixels", "more than some pixels"):
        write_objects(bucket, {key: pixels})
        result = refresh(bucket, lake)
        assert ask(lake, query) == [(key, len(pixels), True)]
        assert result.images.loaded == 0, "no header was read again"
    (bucket / key).unlink()
    refresh(bucket, lake)
    assert ask(lake, query) == [(None, None, False)]


@pytest.mark.slow
def test_dcm_written_later_is_not_there_before(tmp_path: Path, lake: Path) -> None:
    names = "Covid1/1.2/1.3/1.4"
    uids = {"0020000D": "1.2", "0020000E": "1.3"}
    write_at(tmp_path / "b", f"training/xray-metadata/{names}.json", header("Covid1", **uids), "2020-04-01")
    write_at(tmp_path / "b", f"training/xray/{names}.dcm", "12345", "2020-04-05")
    refresh(tmp_path / "b", lake)
    with warehouse.open(str(lake)) as wh:
        query = "select dcm_key, dcm_size, dcm_etag is null, dcm_available_date::varchar from images"
        assert wh.as_of("2020-03-31").sql(query).fetchall() == []
        assert wh.as_of("2020-04-04").sql(query).fetchall() == [(None, None, True, None)]
        there = [(f"training/xray/{names}.dcm", 5, False, "2020-04-05")]
        assert wh.as_of("2020-04-05").sql(query).fetchall() == there
        assert wh.as_of("2020-04-04").sql("select n_dcm, dcm_size from series").fetchall() == [(0, 0)]
        assert wh.as_of("2020-04-05").sql("select n_dcm, dcm_size from series").fetchall() == [(1, 5)]


@pytest.mark.slow
def test_of_several_dcm_the_mirrored_one_is_meant(tmp_path: Path, lake: Path) -> None:
    """The same image sent on two days has two headers, each with its own .dcm."""
    days = ("2020-04-01", "2020-04-03")
    for day in days:
        write_objects(tmp_path / "b", {f"training/P/images_metadata/{day}/i.json": header("P")})
        write_objects(tmp_path / "b", {f"training/P/images/{day}/i.dcm": day})
    refresh(tmp_path / "b", lake)
    assert ask(lake, "select available_date::varchar, dcm_key from images order by 1") == [
        (day, f"training/P/images/{day}/i.dcm") for day in days
    ]


@pytest.mark.slow
def test_sources_in_one_lake_leave_each_other_alone(tmp_path: Path, lake: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_objects(one, person("A") | person("Both"))
    write_objects(other, person("B") | person("Both"))
    (other / "training/Both/images/2020-04-01/iBoth.dcm").unlink()
    refresh(one, lake)
    refresh(other, lake)
    query = "select source, dcm_key is not null from images where patient_id = 'Both' order by 1"
    assert ask(lake, query) == [(str(one), True), (str(other), False)]

    of_one = content(lake, f"source = '{one}'")
    assert len(of_one["raw.objects"]) == 6
    shutil.rmtree(other / "training")
    (other / "training").mkdir()
    assert refresh(other, lake).objects.removed == 5
    assert content(lake, f"source = '{one}'") == of_one
    assert not content(lake, f"source = '{other}'")["raw.objects"]


@pytest.mark.slow
def test_groups(bucket: Path, lake: Path, here: Any) -> None:
    write_objects(bucket, person("V1", "validation") | person("X1", "elsewhere"))
    refresh(bucket, lake)
    views = ("patients", "images", "clinical", "clinical_history", "headers")
    counts = ", ".join(f"(select count(*) from {view})" for view in views)
    with warehouse.open(str(lake)) as wh:
        for group, number in {
            "training": 10,
            "validation": 1,
            "elsewhere": 1,
            "all": 12,
        }.items():
            assert wh.group(group).sql(f"select {counts}").fetchone() == (number,) * len(views)
        assert wh.sql(f"select {counts}").fetchone() == (10,) * len(views)
        with pytest.raises(warehouse.UsageError, match="all, elsewhere, training, validation"):
            wh.group("nobody")
    asked = ("sql", "select patient_id from patients order by 1", "--format", "json", "--lake", lake)
    assert len(json.loads(here(*asked).stdout)) == 10
    assert json.loads(here(*asked, "--group", "validation").stdout) == [{"patient_id": "V1"}]
    assert len(json.loads(here(*asked, "--group", "all").stdout)) == 12


@pytest.mark.slow
def test_readers_stay_at_their_snapshot(bucket: Path, lake: Path, here: Any) -> None:
    first = refresh(bucket, lake).published.snapshot
    with warehouse.open(str(lake)) as wh:
        write_objects(bucket, person("P10"))
        (bucket / "training/P0/data/2020-04-02/data.json").unlink()
        second = refresh(bucket, lake).published.snapshot
        query = "select (select count(*) from patients), (select count(*) from clinical)"
        assert wh.sql(query).fetchone() == (10, 10)
        assert wh.as_of("2021-01-01").sql(query).fetchone() == (10, 10)
    assert ask(lake, query) == [(11, 10)]
    assert ask(lake, query, snapshot=first) == [(10, 10)]
    assert ask(lake, query, snapshot=second) == [(11, 10)]

    asked = ("sql", "select count(*) as n from patients", "--lake", lake, "--format", "json", "--snapshot")
    assert json.loads(here(*asked, first).stdout) == [{"n": 10}]
    for unpublished in (first - 1, second + 1):
        refused = here(*asked, unpublished)
        assert refused.returncode == 2
        assert f"{first}, {second}" in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_reextract_types_again_without_the_bucket(bucket: Path, lake: Path) -> None:
    refresh(bucket, lake)
    before = content(lake)
    with lakes.open_writer(
        location.parse_address(str(lake)), SETTINGS
    ) as con:  # as a lake from before the column was there
        con.execute("update core.images set Modality = null, dcm_key = null")
    for path in bucket.rglob("*.json"):  # nothing to be read there, and nothing that the listing shows
        stat = path.stat()
        path.write_bytes(b"-" * stat.st_size)
        os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    refresh(bucket, lake, reextract_headers=True)
    assert content(lake) == before


@pytest.mark.slow
def test_reextract_keeps_to_its_prefix_and_source(tmp_path: Path, lake: Path) -> None:
    for name in ("one", "other"):
        write_objects(tmp_path / name, person("A") | person("B"))
        refresh(tmp_path / name, lake)
    with lakes.open_writer(location.parse_address(str(lake)), SETTINGS) as con:
        con.execute("update core.images set Modality = null")
    refresh(tmp_path / "one", lake, reextract_headers=True, prefix="training/A/")
    found = ask(lake, "select source, patient_id from images where Modality = 'CT'")
    assert found == [(str(tmp_path / "one"), "A")]
    assert ask(lake, "select count(*) from images") == [(4,)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample bucket that is loaded in many units."""
    folder = tmp_path_factory.mktemp("large") / "bucket"
    synthetic.make_bucket(folder, patients=30, layout="dated", seed=3)
    return folder


@pytest.fixture(scope="module")
def large_content(large: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    lake = tmp_path_factory.mktemp("fresh") / "lake"
    warehouse.refresh(str(large), str(lake))
    return content(lake)


def stop_midway(bucket: Path, lake: Path, how: signal.Signals) -> int:
    """Start the command and stop it when a few units more are written; returns its exit code."""
    written = lake / "data" / "core" / "images"
    before = len(list(written.rglob("*.parquet")))
    environ = {**os.environ, "CHEST_UNIT_OBJECTS": "20"}
    command = [
        sys.executable,
        "-c",
        "from warehouse.cli import main; main()",
        "refresh",
        str(bucket),
        "--lake",
        str(lake),
    ]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while len(list(written.rglob("*.parquet"))) < before + 4:
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(how)
    _, output = process.communicate(timeout=60)
    assert b"Traceback" not in output
    return process.returncode


@pytest.mark.slow
def test_a_killed_refresh_resumes(large: Path, lake: Path, large_content: Any, here: Any) -> None:
    first = sorted(path.name for path in (large / "training").iterdir())[0]
    refresh(large, lake, prefix=f"training/{first}/")
    before = content(lake)

    assert stop_midway(large, lake, signal.SIGKILL) == -signal.SIGKILL
    assert content(lake) == before
    assert json.loads(here("status", "--lake", lake, "--format", "json").stdout)["unpublished_commits"] > 1

    result = refresh(large, lake)
    assert 0 < result.images.loaded < len(large_content["core.images"]), "what was committed is not loaded again"
    assert content(lake) == large_content
    assert result.published.counts["images"] == len(large_content["core.images"]) - len(before["core.images"])
    assert not refresh(large, lake).published.is_new


@pytest.mark.slow
def test_interrupted_first_refresh(large: Path, tmp_path: Path, large_content: Any) -> None:
    lake = tmp_path / "none yet"
    assert stop_midway(large, lake, signal.SIGINT) == 130
    with pytest.raises(warehouse.LakeError, match="no published snapshot"):
        warehouse.open(str(lake))
    refresh(large, lake)
    assert content(lake) == large_content


def test_one_refresh_at_a_time(bucket: Path, lake: Path, chest: Any) -> None:
    refresh(bucket, lake)
    with lakes.open_writer(location.parse_address(str(lake)), SETTINGS):
        refused = chest("refresh", bucket, "--lake", lake)
    assert refused.returncode == 2
    assert "Another refresh" in refused.stderr
    assert ask(lake, "select count(*) from patients") == [(10,)]


def test_odd_buckets_leave_no_lake(tmp_path: Path, here: Any) -> None:
    lake = tmp_path / "lake"
    for wrong in (tmp_path / "nowhere", "http://example.org/x", " "):
        refused = here("refresh", wrong, "--lake", lake)
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
        assert not lake.exists()
