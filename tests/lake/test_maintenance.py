"""Maintenance: fewer files, fewer snapshots, the same answers; killed at any moment, and with readers on the lake."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, write_objects
from servers import serve_moto, serve_postgres

import warehouse
from warehouse.errors import BlockedError, LakeBusyError, LakeError, UsageError
from warehouse.ingest import list_objects, open_run
from warehouse.lake import location, store
from warehouse.lake.maintenance import MaintenanceResult, maintain
from warehouse.manifests.export import export_manifest
from warehouse.manifests.reproduce import reproduce
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

COHORT = """\
-- title: Films
-- question: Which series are there?
-- grain: series
select SeriesInstanceUID, Modality from series
"""
COMMAND = [
    sys.executable,
    "-c",
    "from warehouse.cli import main; main()",
    "maintain",
    "--keep-days",
    "0",
    "-q",
    "--lake",
]
VIEWS = (
    "patients",
    "studies",
    "series",
    "images",
    "headers",
    "clinical_history",
    "clinical_changes",
    "clinical_issues",
)


def record(n: int, centre: str | None = "Leeds", note: str = "") -> dict[str, bytes | str]:
    content = {"Pseudonym": f"New{n}", "SwabStatus": "Negative", "SubmittingCentre": centre, "Note": note}
    return {f"training/New{n}/data/2020-03-0{n + 1}/data.json": json.dumps(content)}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bucket")
    make_bucket(root, 4)
    return root


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cohort") / "films.sql"
    path.write_text(COHORT)
    return path


@pytest.fixture(scope="module")
def worn(bucket: Path, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A lake after five refreshes that added, replaced and removed; with their snapshots, the answers of each, and a
    manifest of the second. Tests take a copy."""
    root = tmp_path_factory.mktemp("worn")
    changing, folder = root / "bucket", str(root / "lake")
    shutil.copytree(bucket, changing)
    numbers = [warehouse.refresh(str(changing), folder).published.snapshot]
    manifest: Path = root / "manifest"
    for n in range(4):
        write_objects(changing, record(n))
        if n == 2:
            patient = sorted((changing / "training").iterdir())[0]
            shutil.rmtree(patient)
        numbers.append(warehouse.refresh(str(changing), folder, allow_removals=True).published.snapshot)
        if n == 0:
            with warehouse.open(folder) as wh:
                export_manifest(wh.cohort(cohort), manifest)
    seen = {number: answers(folder, number) for number in numbers}
    return {"bucket": changing, "lake": folder, "numbers": numbers, "answers": seen, "manifest": manifest}


@pytest.fixture
def own(worn: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A copy of the worn lake, whose catalogue has the new path."""
    folder = tmp_path / "lake"
    shutil.copytree(worn["lake"], folder)
    in_catalogue(str(folder), f"update ducklake_metadata set value = '{folder}/data/' where key = 'data_path'")
    return {**worn, "lake": str(folder)}


def in_catalogue(folder: str, statement: str) -> None:
    """Alter the catalogue, in another process: SQLite's locks are those of a process."""
    code = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as con: con.execute(sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, f"{folder}/catalog.sqlite", statement], check=True)


def days_later(folder: str, days: int) -> None:
    """Let files have waited for their removal so many days longer."""
    then = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S+00")
    in_catalogue(folder, f"update ducklake_files_scheduled_for_deletion set schedule_start = '{then}'")


def answers(folder: str, snapshot: int | None = None) -> dict[str, Any]:
    """How many rows every view has, and a digest of them; of all groups, as of a day and now."""
    with warehouse.open(folder, snapshot=snapshot) as wh:
        asked = wh.group("all")
        return {
            f"{view} {day}": at.sql(f"select count(*), sum(hash(row)) from {view} as row").fetchone()
            for day, at in (("now", asked), ("then", asked.as_of("2020-06-01")))
            for view in VIEWS
        }


def snapshots(folder: str) -> list[store.Snapshot]:
    with warehouse.open(folder) as wh:
        return store.list_snapshots(wh.con)


def parquet(folder: str) -> set[Path]:
    return set((Path(folder) / "data").rglob("*.parquet"))


def test_answers_stay_and_unneeded_files_are_removed(own: dict[str, Any]) -> None:
    folder, numbers = own["lake"], own["numbers"]
    before, of_manifest = own["answers"][numbers[-1]], own["answers"][numbers[1]]
    assert answers(folder) == before
    files = parquet(folder)
    done = maintain(folder, keep_days=0)
    assert done.rewritten.files > 0
    assert done.merged.files > (done.merged.into or 0) > 0
    assert (done.before.files, done.removed_files, done.waiting) == (len(files), 0, 0)
    assert files < parquet(folder)  # a reader's query may still be on the old ones

    assert answers(folder) == before
    with warehouse.open(folder) as wh:
        assert wh.snapshot.number == done.snapshot > numbers[-1]
        (live,) = wh.con.execute(
            "select count(*) from ducklake_list_files('lake', 'images', schema => 'core')"
        ).fetchall()
        assert measure_status(wh)["unpublished_commits"] == 0
    assert live[0] <= 4  # one a year
    assert done.kept == (numbers[1], done.snapshot)
    assert set(numbers) - set(done.expired) == {numbers[1]}
    with pytest.raises(UsageError, match=rf"Snapshot {numbers[2]} .* is gone: maintenance keeps"):
        warehouse.open(folder, snapshot=numbers[2])

    days_later(folder, 4)
    later = maintain(folder, keep_days=0)
    assert later.removed_files > 0
    assert (later.after.files, later.rewritten.files, later.expired) == (len(parquet(folder)), 0, ())
    assert later.after.bytes < done.before.bytes
    assert answers(folder) == before
    assert answers(folder, numbers[1]) == of_manifest
    again = reproduce(warehouse.manifest(own["manifest"]), folder)
    assert again.is_same_csv
    assert again.difference.is_same
    assert warehouse.refresh(str(own["bucket"]), folder).published.is_new is False


@pytest.mark.slow
def test_snapshots_of_the_last_days_are_kept(own: dict[str, Any]) -> None:
    folder, numbers = own["lake"], own["numbers"]
    before = own["answers"]
    old = "2020-01-01 00:00:00+00"
    in_catalogue(folder, f"update ducklake_snapshot set snapshot_time = '{old}' where snapshot_id <= {numbers[2]}")
    done = maintain(folder, keep_days=30)
    # The third was superseded just now: somebody may still read it.
    assert set(numbers) & set(done.kept) == {numbers[1], *numbers[2:]}
    assert set(numbers) & set(done.expired) == {numbers[0]}
    days_later(folder, 4)
    maintain(folder, keep_days=30)
    for number in (numbers[1], *numbers[2:]):
        assert answers(folder, number) == before[number]
    assert [row["snapshot"] for row in rows_of_refreshes(folder)] == numbers[::-1]


def rows_of_refreshes(folder: str) -> list[dict[str, Any]]:
    with warehouse.open(folder) as wh:
        found: list[dict[str, Any]] = measure_status(wh)["refreshes"]
        return found


@pytest.mark.slow
def test_a_dry_run_reports_and_changes_nothing(
    own: dict[str, Any], here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own["lake"]
    files, history = parquet(folder), snapshots(folder)
    monkeypatch.setenv("CHEST_KEEP_DAYS", "0")
    done = here("maintain", "--lake", folder, "--dry-run", "--format", "json", "-q")
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    assert (parquet(folder), snapshots(folder)) == (files, history)
    real = json.loads(json.dumps(asdict(maintain(folder))))
    assert (planned["rewritten"]["files"], planned["before"]) == (real["rewritten"]["files"], real["before"])
    stay = {s.number for s in history if s.number > own["numbers"][-1] or s.info.get("step") == "objects"}
    assert set(planned["expired"]) == {s.number for s in history} - {own["numbers"][1], *planned["kept"]} - stay
    assert set(planned["expired"]) <= set(real["expired"])
    assert planned["merged"]["files"] > 0
    shown = here("maintain", "--lake", folder, "-q")
    assert shown.returncode == 0
    assert "0 files with deleted rows into 0" in shown.stdout


def test_only_old_orphans_are_removed(own: dict[str, Any]) -> None:
    folder = own["lake"]
    dead, fresh, other = (Path(folder) / "data/core/images" / name for name in ("dead.parquet", "new.parquet", "a.txt"))
    for path in (dead, fresh, other):
        path.write_bytes(b"PAR1")
    week = time.time() - 7 * 86_400
    os.utime(dead, (week, week))
    assert maintain(folder, dry_run=True).removed_orphans == 1
    assert dead.exists()
    assert maintain(folder).removed_orphans == 1
    assert [path.exists() for path in (dead, fresh, other)] == [False, True, True]


@pytest.mark.slow
def test_open_readers_continue_or_get_an_error(own: dict[str, Any]) -> None:
    folder, numbers = own["lake"], own["numbers"]
    with warehouse.open(folder, snapshot=numbers[1]) as kept, warehouse.open(folder, snapshot=numbers[2]) as gone:
        seen = kept.images().order("key").fetchall()
        assert subprocess.run([*COMMAND, folder], check=False, capture_output=True).returncode == 0
        assert kept.images().order("key").fetchall() == seen
        with pytest.raises(UsageError, match="maintenance has removed it"):
            gone.sql("from images")


@pytest.mark.slow
def test_unpublished_work_is_kept_and_resumed(tmp_path: Path, new_lake: Path) -> None:
    bucket, folder = tmp_path / "bucket", str(new_lake)
    for n in range(2):
        write_objects(bucket, record(n))
        last = warehouse.refresh(str(bucket), folder).published.snapshot
    before = answers(folder)
    write_objects(bucket, record(8))
    with open_run(str(bucket), folder) as run:
        list_objects(run)  # and here it stopped
    done = maintain(folder, keep_days=0)
    assert (done.waiting, done.snapshot, done.kept) == (1, last, (last,))
    assert done.merged.files > 0
    assert answers(folder) == before
    result = warehouse.refresh(str(bucket), folder)
    assert (result.clinical.loaded, result.published.counts["added"]) == (1, 1)
    good = answers(folder)
    assert good["patients now"][0] == 3

    with store.open_writer(location.parse_address(folder), Settings()) as con:
        con.execute("insert into core.clinical from core.clinical limit 1")
    with pytest.raises(BlockedError):
        warehouse.refresh(str(bucket), folder)
    maintain(folder, keep_days=0)
    assert answers(folder) == good
    with warehouse.open(folder) as wh:
        assert wh.snapshot.number == result.published.snapshot
        assert [one["check"] for one in measure_status(wh)["blocked"]] == ["books", "rows_twice"]


@pytest.mark.slow
def test_an_older_snapshot_is_not_read_by_newer_statistics(tmp_path: Path, new_lake: Path, cohort: Path) -> None:
    """What is rewritten has narrower statistics, of which DuckLake has one set: it must not rule older snapshots."""
    bucket, folder = tmp_path / "bucket", str(new_lake)
    write_objects(bucket, {**record(1), **record(2, note="x" * 3_000), **record(3, centre=None)})
    older = warehouse.refresh(str(bucket), folder).published.snapshot
    for n in (2, 3):
        shutil.rmtree(bucket / f"training/New{n}")
    queries = (
        "select patient_id from clinical where submitting_centre is null",
        "select count(submitting_centre), max(size), min(size) from clinical",
        "select size, patient_id from clinical_history order by size, patient_id",
        "select patient_id from clinical where size > 1000",
    )
    with warehouse.open(folder) as long_open:
        seen = [long_open.sql(query).fetchall() for query in queries]
        assert seen[0] == [("New3",)]
        warehouse.refresh(str(bucket), folder, allow_removals=True)
        assert maintain(folder, keep_days=1).rewritten.files > 0
        assert [long_open.sql(query).fetchall() for query in queries] == seen
    with warehouse.open(folder, snapshot=older) as anew:
        assert [anew.sql(query).fetchall() for query in queries] == seen
        assert [anew.sql(query, trusted=False).fetchall() for query in queries] == seen


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing(own: dict[str, Any]) -> None:
    folder, numbers = own["lake"], own["numbers"]
    before, of_manifest = own["answers"][numbers[-1]], own["answers"][numbers[1]]
    chance = random.Random(7)
    killed = 0
    for _ in range(3):
        process = subprocess.Popen([*COMMAND, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        lock = f":{(Path(folder) / 'writer.lock').stat().st_ino} "  # as the system lists what is locked
        while time.monotonic() < deadline and lock not in Path("/proc/locks").read_text(encoding="ascii"):
            time.sleep(0.002)  # until it holds the lake
        time.sleep(chance.uniform(0.1, 0.6))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert answers(folder) == before
    assert killed
    days_later(folder, 4)
    maintain(folder, keep_days=0)
    assert maintain(folder, keep_days=0).expired == ()
    assert answers(folder) == before
    assert answers(folder, numbers[1]) == of_manifest
    for path in parquet(folder):
        os.utime(path, (0, 0))
    maintain(folder, keep_days=0)
    assert answers(folder) == before


def test_it_needs_a_lake_of_its_own(own: dict[str, Any], tmp_path: Path, here: Chest) -> None:
    with store.open_writer(location.parse_address(own["lake"]), Settings()), pytest.raises(LakeBusyError):
        maintain(own["lake"])
    with pytest.raises(LakeError, match="There is no lake"):
        maintain(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="0 or more"):
        maintain(own["lake"], keep_days=-1)
    assert here("maintain", "--lake", own["lake"], "--format", "csv").returncode == 2


@pytest.mark.slow
def test_a_lake_in_postgresql_and_on_s3(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_moto() as s3, serve_postgres() as server:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        client = s3.client()
        client.create_bucket(Bucket="parquet")
        server.run("create database remote")
        address = server.address("remote", "s3://parquet/lake", schema="site")
        mine = bucket.parent / "of_postgres"
        shutil.copytree(bucket, mine)
        first = warehouse.refresh(str(mine), address).published.snapshot
        write_objects(mine, record(1))
        shutil.rmtree(sorted((mine / "training").iterdir())[0])
        warehouse.refresh(str(mine), address, allow_removals=True)
        before = answers(address)
        assert maintain(address, keep_days=0, dry_run=True).merged.files > 0
        with warehouse.open(address) as wh:
            (count, _) = before["headers now"]
            stream = wh.con.execute("from lake.raw.headers").to_arrow_reader(1)
            rows = stream.read_next_batch().num_rows
            done: MaintenanceResult = maintain(address, keep_days=1)
            assert rows + sum(batch.num_rows for batch in stream) == count
            assert answers(address) == before
        assert first not in done.expired
        assert done.rewritten.files > 0
        assert done.merged.files > 0
        assert answers(address) == before
        server.run(
            "update site.ducklake_files_scheduled_for_deletion set schedule_start = now() - interval '4 days'", "remote"
        )
        later = maintain(address, keep_days=0)
        assert first in later.expired
        assert later.removed_files > 0
        listed = client.list_objects_v2(Bucket="parquet")["Contents"]
        stored = [row for row in listed if row["Key"].endswith(".parquet")]
        assert later.after == type(later.after)(len(stored), sum(row["Size"] for row in stored))
        assert later.before.files - later.after.files == later.removed_files
        assert answers(address) == before
        with pytest.raises(UsageError, match="is gone"):
            warehouse.open(address, snapshot=first)
