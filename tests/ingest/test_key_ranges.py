"""Refreshes of many ranges of keys: the lake is that of a single range, after every kind of change."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import write_objects
from support.unit_fixtures import build_objects, read_tables, write_header

import warehouse
from warehouse.ingest import key_ranges, open_run, planning, recleaning
from warehouse.lake import location, store
from warehouse.settings import Settings

SETTINGS = Settings(workers=1, max_removals_percent=100)
#: Headers are read from .dcm objects where there is no .json.
WITH_DCM = Settings(workers=1, max_removals_percent=100, layout="standard+dcm")

STALE = "update core.clinical set rules = 'other', age = 7"


def change_bucket(bucket: Path) -> Iterator[dict[str, Any]]:
    """Change a bucket again and again; yields how it is refreshed each time."""
    write_objects(bucket, build_objects(range(12)))
    write_objects(bucket, {"test/Q1/images_metadata/2020-03-01/q.json": write_header(1001), "training/P3/x.json": "{"})
    yield {}
    yield {}  # nothing new
    for patient in ("P0", "P11", "P9"):
        shutil.rmtree(bucket / "training" / patient)
    write_objects(bucket, build_objects(range(12, 14)))
    write_objects(bucket, {"training/P5/images_metadata/2020-03-01/5.json": "no JSON, so that the row before stays"})
    write_objects(bucket, {"training/P7/data/2021-01-01/data.json": json.dumps({"Pseudonym": "P7", "Age": 60})})
    # Other .dcm for images that are loaded: some that came earlier, some with new content, one that is gone.
    write_objects(bucket, {f"training/P{n}/images/2019-01-01/{n}.dcm": b"before" for n in range(1, 5)})
    write_objects(bucket, {key: b"new" for key in build_objects(range(5, 9)) if key.endswith(".dcm")})
    (bucket / "training/P10/images/2021-03-02/10.dcm").unlink()
    yield {}
    yield {"reextract_headers": True}
    yield {"full": True}
    yield {"settings": WITH_DCM}
    yield {"settings": WITH_DCM, "full": True}


@pytest.mark.slow
def test_ranges_make_the_same_lake_after_every_kind_of_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lakes = {key_ranges.RANGE_SIZE: tmp_path / "whole", 10: tmp_path / "parts"}
    seen = []
    for step, options in enumerate(change_bucket(tmp_path / "bucket")):
        done = {}
        for range_size, lake in lakes.items():
            monkeypatch.setattr(key_ranges, "RANGE_SIZE", range_size)
            monkeypatch.setattr(planning, "PLAN_SIZE", range_size // 2)  # plans end within ranges, too
            done[range_size] = warehouse.refresh(tmp_path / "bucket", lake, **{"settings": SETTINGS, **options})
        whole, parts = done.values()
        assert (parts.objects, parts.images, parts.clinical) == (whole.objects, whole.images, whole.clinical), step
        assert read_tables(tmp_path / "parts") == read_tables(tmp_path / "whole"), step
        seen.append(whole.objects.changed + whole.objects.added + whole.objects.removed)
    assert seen[0] > 30
    assert not seen[1]
    assert seen[2] > 10


@pytest.mark.slow
def test_ranges_and_units_clean_every_record_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two buckets that have most keys in common."""
    lake, folder = str(tmp_path / "lake"), tmp_path / "bucket"
    write_objects(folder, build_objects(range(9)))
    shutil.copytree(folder, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "training" / "P4")
    write_objects(tmp_path / "other", {"training/P5/data/2020-05-01/data.json": json.dumps({"Age": "71.6"})})
    warehouse.refresh(folder, lake, settings=SETTINGS)
    warehouse.refresh(tmp_path / "other", lake, settings=SETTINGS, add_source=True)
    cleaned = read_tables(tmp_path / "lake")
    records = len(cleaned["core.clinical"])
    assert records > 15
    assert cleaned["core.clinical_issues"]
    monkeypatch.setattr(recleaning, "_UNIT", 4)
    for range_size in (7, 10_000_000):
        monkeypatch.setattr(key_ranges, "RANGE_SIZE", range_size)
        with store.open_writer(location.parse_address(lake), Settings()) as con:
            store.transact(con, "other rules", lambda con=con: con.execute(STALE))  # type: ignore[misc]
            stale = "update core.clinical_issues set clean_value = 'x'"
            store.transact(con, "other issues", lambda con=con, stale=stale: con.execute(stale))  # type: ignore[misc]
        done = warehouse.refresh(folder, lake, settings=SETTINGS)
        assert done.clinical.recleaned == records
        assert read_tables(tmp_path / "lake") == cleaned


@pytest.mark.slow
def test_ranges_have_every_key_once_and_about_as_many_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_objects(tmp_path / "bucket", build_objects(range(40)))
    warehouse.refresh(tmp_path / "bucket", tmp_path / "lake", settings=SETTINGS)
    with open_run(str(tmp_path / "bucket"), str(tmp_path / "lake")) as run:
        keys = [key for (key,) in run.con.execute("select key from raw.objects order by key").fetchall()]
        for size in (7, 50, len(keys) - 1, len(keys), len(keys) + 1):
            monkeypatch.setattr(key_ranges, "RANGE_SIZE", size)
            found = []
            ranges = key_ranges.find_ranges(run.con)
            for number, one in enumerate(ranges):
                query = (
                    f"select key, {key_ranges.render_number(ranges, 'key')} from raw.objects where {one.render('key')}"
                )
                rows = run.con.execute(query).fetchall()
                assert {place for _, place in rows} <= {number}
                assert len(rows) <= 2 * size
                found += [key for key, _ in rows]
            assert sorted(found) == keys
            assert len(ranges) <= -(-len(keys) // size)
