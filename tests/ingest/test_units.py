"""Worker processes load what one process loads, whoever is killed; what they have written is a lake like any other."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, copy_lake, write_objects
from faulty import reset_connection, serve_faulty
from servers import S3, serve_postgres, serve_rclone
from unit_fixtures import ALONE, build_objects, read_rejects, read_tables, write_header

import warehouse
from warehouse.errors import LakeError
from warehouse.settings import Settings

#: Several units for each worker, of a bucket of two hundred objects.
WORKERS = Settings(workers=2, unit_objects=20)


@pytest.fixture(scope="module")
def loaded(unit_bucket: Path) -> Path:
    """A lake that two workers have loaded."""
    lake = unit_bucket.with_name("loaded")
    warehouse.refresh(unit_bucket, lake, settings=WORKERS)
    return lake


def test_workers_load_what_one_process_loads(loaded: Path, calm_tables: dict[str, Any], here: Chest) -> None:
    assert read_tables(loaded) == calm_tables
    assert len(calm_tables["core.images"]) == 62
    assert len(calm_tables["ops.rejects"]) == 16
    # Every file is recorded with its checksum, and is where DuckLake would have put it.
    assert here("doctor", "--lake", loaded).returncode == 0
    assert {path.parent.name for path in (loaded / "data" / "core" / "images").rglob("*.parquet")} == {
        "year=2020",
        "year=2021",
        "year=2022",
    }


@pytest.mark.slow
def test_what_has_changed_is_replaced_and_what_has_been_mended_is_no_reject(
    loaded: Path, unit_bucket: Path, tmp_path: Path, here: Chest
) -> None:
    lake = copy_lake(loaded, tmp_path / "lake")
    kept = shutil.copytree(unit_bucket, tmp_path / "kept")
    try:
        objects = build_objects(range(70))
        changed = {key: write_header(1, "CT") for key in objects if key.endswith(("/9.json", "/10.json", "/11.json"))}
        write_objects(unit_bucket, dict(changed))
        warehouse.refresh(unit_bucket, lake, settings=WORKERS)
        alone = tmp_path / "alone"
        warehouse.refresh(unit_bucket, alone, settings=ALONE)
        assert read_tables(lake) == read_tables(alone)
        # What was written outside of DuckLake is merged, expired and removed like any other file.
        assert here("maintain", "--lake", lake).returncode == 0
        assert read_tables(lake) == read_tables(alone)
        again = warehouse.refresh(unit_bucket, lake, settings=WORKERS)
        assert not again.published.is_new
    finally:
        shutil.rmtree(unit_bucket)
        shutil.copytree(kept, unit_bucket)


def list_workers(parent: int) -> list[int]:
    """The worker processes of a process."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            for pid in (task / "children").read_text().split():
                if b"warehouse.ingest.units.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


@pytest.mark.slow
def test_a_killed_worker_takes_nothing_with_it(unit_bucket: Path, tmp_path: Path, calm_tables: dict[str, Any]) -> None:
    killed: list[int] = []

    def kill_once(step: str, done: int, total: int) -> None:
        if step in ("images", "clinical") and 0 < done < total and len(killed) < 3:
            for pid in list_workers(os.getpid()):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    lake = tmp_path / "lake"
    warehouse.refresh(unit_bucket, lake, settings=WORKERS, progress=kill_once)
    assert killed
    assert read_tables(lake) == calm_tables
    assert not list_workers(os.getpid())


def find_client(handler: BaseHTTPRequestHandler) -> int:
    """The process at the other end of a connection: the child of this one that has the socket of that port."""
    port = f":{handler.client_address[1]:04X}"
    for pid in list_workers(os.getpid()):
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        inodes = {f"socket:[{line.split()[9]}]" for line in lines if line.split()[1].endswith(port)}
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(link.readlink()) in inodes:
                    return pid
    raise AssertionError("no worker asked")


@pytest.mark.slow
def test_an_object_that_ends_every_worker_is_rejected_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = []

    def kill_client(handler: BaseHTTPRequestHandler) -> None:
        deaths.append(find_client(handler))
        os.kill(deaths[-1], signal.SIGKILL)
        reset_connection(handler)

    with serve_rclone(tmp_path / "served") as server, serve_faulty(server) as proxy:
        server.put("chest", {key: text for key, text in build_objects(range(1, 5)).items() if isinstance(text, bytes)})
        server.put("chest", {k: t.encode() for k, t in build_objects(range(1, 5)).items() if isinstance(t, str)})
        for name, value in proxy.s3.environment.items():
            monkeypatch.setenv(name, value)
        proxy.fail(kill_client, when=lambda path: "/images_metadata/" in path and path.endswith("/2.json"))
        made = warehouse.refresh("s3://chest", tmp_path / "lake", settings=WORKERS)
    # Four headers, halved twice: twice all of them, then two, then the one.
    assert len(deaths) == 4
    assert (made.images.loaded, made.images.rejected) == (3, 1)
    ((key, reason, retry),) = read_rejects(tmp_path / "lake", "header")
    assert key.endswith("/2.json")
    assert reason.startswith("ended the process that read it")
    assert not retry


@pytest.mark.slow
def test_no_worker_outlives_its_refresh_and_the_next_one_finishes(
    unit_bucket: Path, tmp_path: Path, calm_tables: dict[str, Any]
) -> None:
    lake = tmp_path / "lake"
    code = f"""
import os, signal, warehouse
from warehouse.settings import Settings
def die(step, done, total):
    if step == "images" and done:
        print(os.getpid(), flush=True)
        signal.pause()
warehouse.refresh({str(unit_bucket)!r}, {str(lake)!r}, settings=Settings(workers=2, unit_objects=20), progress=die)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        assert int(driver.stdout.readline()) == driver.pid
        ends = [os.pidfd_open(pid) for pid in list_workers(driver.pid)]
        driver.kill()
    assert len(ends) == 2
    for end in ends:
        waiting = select.poll()
        waiting.register(end, select.POLLIN)
        assert waiting.poll(60_000), "a worker outlived its refresh"
        os.close(end)
    warehouse.refresh(unit_bucket, lake, settings=WORKERS)
    assert read_tables(lake) == calm_tables


@pytest.mark.slow
def test_workers_run_nothing_of_the_working_directory(
    unit_bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that is a folder, or a manifest, may be where a refresh is started, and have programs in it."""
    ran = tmp_path / "ran"
    (tmp_path / "strange").mkdir()
    for name in ("multiprocessing", "traceback", "json", "warehouse"):
        (tmp_path / f"strange/{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path / "strange")
    warehouse.refresh(unit_bucket, tmp_path / "lake", settings=WORKERS)
    assert not ran.exists()


def test_workers_that_cannot_start_end_the_refresh(
    unit_bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LakeError, match="CHEST_WORKERS=1"):
        warehouse.refresh(unit_bucket, tmp_path / "lake", settings=WORKERS)


@pytest.mark.slow
def test_workers_write_to_s3_and_never_get_the_login_of_the_catalogue(
    unit_bucket: Path, calm_tables: dict[str, Any], s3: S3
) -> None:
    s3.client().create_bucket(Bucket="lakes")
    with serve_postgres() as postgres:
        postgres.run("create database units")
        lake = postgres.address("units", "s3://lakes/units")
        warehouse.refresh(unit_bucket, lake, settings=WORKERS)
        assert read_tables(lake) == calm_tables
        assert not warehouse.refresh(unit_bucket, lake, settings=WORKERS).published.is_new
