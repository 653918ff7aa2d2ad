"""What trials found: a catalogue that only grew, counts that added up over killed tries, broken pages of a listing."""

import fcntl
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import write_objects
from faulty import Fault, Faulty, answer_with_page, cut_off, is_page, repeat_page, serve_faulty, shorten_body
from servers import S3

import warehouse
from warehouse.errors import LakeBusyError, LakeError, SourceDownError
from warehouse.ingest import list_objects, load_clinical, open_run
from warehouse.lake import doctor, location, store
from warehouse.lake.maintenance import maintain
from warehouse.settings import Settings

PATIENT = Settings(request_seconds=5)


def record(n: int) -> dict[str, bytes | str]:
    content = {"Pseudonym": f"New{n}", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}
    return {f"training/New{n}/data/2020-03-01/data.json": json.dumps(content)}


@pytest.mark.slow
def test_maintenance_shrinks_the_catalogue(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    catalogue = tmp_path / "lake/catalog.sqlite"
    for n in range(8):
        write_objects(tmp_path / "bucket", record(n))
        warehouse.refresh(str(tmp_path / "bucket"), lake)
    grown = catalogue.stat().st_size
    maintain(lake, keep_days=0)
    with sqlite3.connect(catalogue) as con:
        (free,), (pages,) = (con.execute(f"pragma {name}").fetchone() for name in ("freelist_count", "page_count"))
    assert free <= pages / 4
    with warehouse.open(lake) as wh:
        assert len(wh.sql("from patients").fetchall()) == 8
    for n in range(8):
        write_objects(tmp_path / "bucket", record(100 + n))
        warehouse.refresh(str(tmp_path / "bucket"), lake)
    maintain(lake, keep_days=0)
    assert catalogue.stat().st_size < grown * 1.25  # what is kept grows with the tables, not with the refreshes


@pytest.mark.slow
def test_a_full_refresh_counts_once_however_often_it_was_killed(tmp_path: Path) -> None:
    for n in range(3):
        write_objects(tmp_path / "bucket", record(n))
    bucket, lake = str(tmp_path / "bucket"), str(tmp_path / "lake")

    def stop_before_publishing() -> None:
        with open_run(bucket, lake) as run:
            list_objects(run, full=True)
            load_clinical(run)

    stop_before_publishing()  # of a new lake: all are added
    first = warehouse.refresh(bucket, lake, full=True).published.counts
    assert (first["added"], first["changed"], first["clinical"]) == (3, 0, 3)
    for _ in range(2):
        stop_before_publishing()
    again = warehouse.refresh(bucket, lake, full=True).published.counts
    assert (again["added"], again["changed"], again["clinical"]) == (0, 3, 3)
    with store.open_writer(location.parse_address(lake), Settings()) as con:
        rows = con.execute("select added, changed, clinical from ops.refreshes order by finished_at").fetchall()
    assert rows == [(3, 0, 3), (0, 3, 3)]


@pytest.mark.slow
def test_a_first_refresh_that_was_killed_before_its_first_commit_is_run_again(tmp_path: Path) -> None:
    write_objects(tmp_path / "bucket", record(1))
    lake = tmp_path / "lake"
    for table in ("core/dicom_attributes", "ops/migrations"):  # what it had written, and no tables yet
        write_objects(lake, {f"data/{table}/ducklake-1.parquet": b"PAR1"})
    assert warehouse.refresh(str(tmp_path / "bucket"), str(lake)).clinical.loaded == 1
    write_objects(tmp_path / "other", {"data/raw/objects/ducklake-1.parquet": b"PAR1"})
    with pytest.raises(LakeError, match="has 1 Parquet file of a lake"):
        warehouse.refresh(str(tmp_path / "bucket"), str(tmp_path / "other"))


#: A writer that dies within a commit: SQLite has written pages and their journal.
DIES = """
import os, signal, sqlite3, sys
con = sqlite3.connect(sys.argv[1], isolation_level=None)
con.execute("pragma cache_size = 1")
con.execute("begin immediate")
con.execute("update ducklake_snapshot set schema_version = 999")
con.execute("create table half (i)")
numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9999) select i from n"
con.execute(f"insert into half {numbers}")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_readers_read_on_when_a_writer_has_died_within_a_commit(tmp_path: Path) -> None:
    write_objects(tmp_path / "bucket", record(1))
    lake = tmp_path / "lake"
    warehouse.refresh(str(tmp_path / "bucket"), str(lake))
    catalogue, journal = lake / "catalog.sqlite", lake / "catalog.sqlite-journal"

    def die() -> None:
        subprocess.run([sys.executable, "-c", DIES, str(catalogue)], check=False)
        assert journal.stat().st_size > 0

    for with_copy in (True, False):
        die()
        if not with_copy:
            (lake / "catalog.read.sqlite").unlink()
        with warehouse.open(str(lake)) as wh:
            assert len(wh.sql("from patients").fetchall()) == 1
        assert not journal.exists()
    die()
    assert doctor.examine(str(lake)).is_healthy
    die()
    assert not warehouse.refresh(str(tmp_path / "bucket"), str(lake)).published.is_new


@pytest.fixture(scope="module")
def proxy(server: S3) -> Iterator[Faulty]:
    server.put("chest", record(1))
    with serve_faulty(server) as running:
        yield running


@pytest.fixture
def bucket(proxy: Faulty, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    for name, value in proxy.s3.environment.items():
        monkeypatch.setenv(name, value)
    proxy.fail(None)
    return proxy


def is_first(path: str) -> bool:
    return "max-keys=1&" in f"{path}&"


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("fault", [shorten_body, cut_off, answer_with_page], ids=["short", "cut", "page"])
def test_a_broken_page_of_a_listing_is_asked_for_again(bucket: Faulty, tmp_path: Path, fault: Fault) -> None:
    bucket.fail(fault, times=2, when=is_page)
    assert warehouse.refresh("s3://chest", str(tmp_path / "lake"), settings=PATIENT).clinical.loaded == 1
    assert bucket.failed == 2


@pytest.mark.parametrize("when", [is_page, is_first], ids=["page", "first"])
def test_a_listing_that_stays_broken_may_heal_later(
    bucket: Faulty, tmp_path: Path, when: Callable[[str], bool]
) -> None:
    bucket.fail(shorten_body, when=when)
    with pytest.raises(SourceDownError, match=r"not a listing, or was incomplete|a fault of its own") as caught:
        warehouse.refresh("s3://chest", str(tmp_path / "lake"), settings=PATIENT)
    assert caught.value.heals


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("times", [1, 1_000_000])
def test_a_page_that_is_repeated_does_not_go_round_for_ever(bucket: Faulty, tmp_path: Path, times: int) -> None:
    for n in (2, 3):
        bucket.s3.put("chest", record(n))
    bucket.page_size = 1
    try:
        bucket.fail(repeat_page, times=times, when=lambda path: is_page(path) and "continuation-token" in path)
        if times == 1:
            assert warehouse.refresh("s3://chest", str(tmp_path / "lake"), settings=PATIENT).objects.listed == 3
            return
        with pytest.raises(SourceDownError, match="not a listing, or was incomplete") as caught:
            warehouse.refresh("s3://chest", str(tmp_path / "lake"), settings=PATIENT)
        assert caught.value.heals
    finally:
        bucket.page_size = 0


def test_readers_that_look_at_the_lock_keep_no_writer_out(new_lake: Path) -> None:
    """A reader that looks whether anybody writes has the lock for a moment; on a busy machine, for longer."""
    place = location.parse_address(str(new_lake))

    def write() -> str:
        with store.open_writer(place, Settings()):
            return "written"

    with (new_lake / "writer.lock").open("rb") as reader, ThreadPoolExecutor(1) as threads:
        fcntl.flock(reader, fcntl.LOCK_SH)
        writing = threads.submit(write)
        with pytest.raises(TimeoutError):
            writing.result(0.5)  # it waits
        fcntl.flock(reader, fcntl.LOCK_UN)
        assert writing.result(60) == "written"
        fcntl.flock(reader, fcntl.LOCK_EX)  # as a writer
        with pytest.raises(LakeBusyError, match="Another refresh is writing"):
            write()
