"""Backups: taken while a refresh runs, restored elsewhere with the same answers, found out when they are not whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, start_lake, write_objects
from servers import serve_moto, serve_postgres

import warehouse
from warehouse.errors import LakeBusyError, LakeError, WarehouseError
from warehouse.lake import backup as backups
from warehouse.lake import location, store
from warehouse.manifests.reproduce import reproduce
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

QUESTIONS = tuple(f"from {view} order by all" for view in ("patients", "clinical", "clinical_issues", "series"))

COHORT = """\
-- title: All
-- question: Which patients are there?
-- grain: patient
select patient_id from patients
"""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bucket") / "small"
    make_bucket(root, 3)
    return root


@pytest.fixture(scope="module")
def original(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that was refreshed twice, with rows gone in between, and its backup beside it."""
    root = tmp_path_factory.mktemp("original")
    shutil.copytree(bucket, root / "bucket")
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    for record in sorted((root / "bucket").rglob("data*.json"))[:1]:
        record.unlink()
    warehouse.refresh(str(root / "bucket"), str(root / "lake"), allow_removals=True)
    backups.backup(root / "backup", str(root / "lake"))
    return root


@pytest.fixture
def copied(original: Path, tmp_path: Path) -> Path:
    """Lake and backup to be spoilt, moved away from where they were made."""
    for name in ("lake", "backup"):
        shutil.copytree(original / name, tmp_path / name)
    return tmp_path


def answers(folder: Path | str, snapshot: int | None = None) -> list[Any]:
    """What a lake answers, its own name and place left out."""
    with warehouse.open(str(folder), snapshot=snapshot) as wh:
        shown = {name: value for name, value in measure_status(wh).items() if name != "lake"}
        return [json.dumps(shown, default=str), wh.snapshot, *(wh.sql(question).fetchall() for question in QUESTIONS)]


def a_file_of(folder: Path) -> Path:
    return max((folder / "data").rglob("*.parquet"), key=lambda path: path.stat().st_size)


def test_a_backup_restored_elsewhere_answers_the_same_and_can_be_refreshed(
    original: Path, copied: Path, bucket: Path, here: Chest
) -> None:
    (copied / "all.sql").write_text(COHORT)
    with warehouse.open(str(copied / "lake")) as wh:
        manifest = wh.cohort(copied / "all.sql", as_of="2021-06-01").export(copied / "manifest")
        first = min(s.number for s in store.list_snapshots(wh.con) if s.is_published)
    backups.backup(copied / "backup", str(copied / "lake"))
    before, past = answers(copied / "lake"), answers(copied / "lake", first)

    restored = copied / "elsewhere" / "lake"
    restored.mkdir(parents=True)
    shutil.copy2(copied / "backup/catalog.sqlite", restored)
    shutil.copytree(copied / "backup/data", restored / "data")
    shutil.rmtree(copied / "backup")  # nothing of the new lake may stand on the backup

    assert answers(restored) == before
    assert answers(restored, first) == past != before
    again = reproduce(manifest, str(restored))
    assert manifest.about["counts"]["patients"] > 1
    assert (again.holds, again.is_same_csv, again.digest) == (True, True, manifest.digest)
    done = here("refresh", original / "bucket", "--lake", restored, "-q")
    assert done.returncode == 0, done.stderr
    assert "Nothing new" in done.stdout
    # Another folder, so another source: it writes, and finds its files.
    warehouse.refresh(str(bucket), str(restored), add_source=True)
    with warehouse.open(str(restored)) as wh:
        assert wh.sql("select count(distinct source) from images").fetchone() == (2,)


@pytest.mark.slow
def test_a_second_backup_copies_new_files_and_removes_unneeded_ones(copied: Path, bucket: Path, here: Chest) -> None:
    place = location.parse_address(str(copied / "lake"))
    unchanged = backups.backup(copied / "backup", str(copied / "lake"))
    assert (unchanged.copied, unchanged.removed) == (0, 0)
    warehouse.refresh(str(bucket), str(copied / "lake"), add_source=True)
    with store.open_writer(place, Settings()) as con:
        newest, _ = store.find_unpublished(store.list_snapshots(con))
        con.execute("call ducklake_merge_adjacent_files('lake')")
        con.execute(f"call ducklake_expire_snapshots('lake', versions => {list(range(1, newest))})")
        con.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)")
    (copied / "lake/data/core/orphan.parquet").write_bytes(b"a killed refresh left this")
    done = backups.backup(copied / "backup", str(copied / "lake"))
    files = {path.relative_to(copied / "lake/data") for path in (copied / "lake/data").rglob("*.parquet")}
    kept = {path.relative_to(copied / "backup/data") for path in (copied / "backup/data").rglob("*") if path.is_file()}
    assert kept == files - {Path("core/orphan.parquet")} | {Path("lake.key")}
    kept.remove(Path("lake.key"))
    assert 0 < done.copied < done.files == len(kept)
    assert done.removed > 0
    found = json.loads(here("backup", copied / "backup", "--verify", "-q", "--format", "json").stdout)
    assert found == {
        "folder": str(copied / "backup"),
        "snapshot": done.snapshot,
        "files": done.files,
        "bytes": done.bytes,
        "faults": [],
    }
    assert answers(copied / "backup") == answers(copied / "lake")


@pytest.mark.slow
def test_a_backup_can_be_taken_at_any_moment_of_a_refresh(tmp_path: Path) -> None:
    """A refresh in a process of its own, in many small commits; every backup taken meanwhile is a sound lake."""
    make_bucket(tmp_path / "bucket", 10)
    target = tmp_path / "lake"
    with store.open_writer(location.parse_address(str(target)), Settings()):
        pass
    code = (
        "import sys, warehouse; from warehouse.settings import Settings; "
        "warehouse.refresh(sys.argv[1], sys.argv[2], settings=Settings(unit_objects=16, threads=1))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "bucket"), str(target)]
    seen: list[int] = []
    with subprocess.Popen(command) as refresh:
        while refresh.poll() is None:
            backups.backup(tmp_path / "backup", str(target))
            assert backups.verify(tmp_path / "backup").holds
            with store.open_writer(location.parse_address(str(tmp_path / "backup")), Settings()) as con:
                seen.append(store.list_snapshots(con)[-1].number)
                row = con.execute("select count(*), count(distinct key) from core.images").fetchone()
                assert row is not None
                assert row[0] == row[1]
            time.sleep(0.2)
    assert refresh.returncode == 0
    assert len(set(seen)) > 1, "no backup fell into the refresh"
    assert seen == sorted(seen)
    # What was taken half way goes on to the same answers.
    shutil.copytree(tmp_path / "backup", tmp_path / "half")
    warehouse.refresh(str(tmp_path / "bucket"), str(tmp_path / "half"))
    assert answers(tmp_path / "half")[2:] == answers(target)[2:]


def test_a_folder_with_a_file_of_that_name_is_no_backup(copied: Path, here: Chest) -> None:
    """It lost what else was in its data."""
    mine = {"BACKUP.txt": "my own notes", "data/core/thesis.txt": "years"}
    write_objects(copied / "mine", mine)
    done = here("backup", copied / "mine", "--lake", copied / "lake")
    assert (done.returncode, "is not empty and not a backup" in done.stderr) == (2, True), done.stderr
    assert {path.read_text() for path in (copied / "mine").rglob("*") if path.is_file()} == {*mine.values()}
    write_objects(copied / "backup", {"data/core/thesis.txt": "years"})
    assert here("backup", copied / "backup", "--lake", copied / "lake").returncode == 0
    assert (copied / "backup/data/core/thesis.txt").read_text() == "years"


@pytest.mark.slow
def test_a_killed_backup_leaves_the_previous_one_intact(copied: Path, tmp_path: Path) -> None:
    make_bucket(tmp_path / "more", 8)
    warehouse.refresh(str(tmp_path / "more"), str(copied / "lake"), add_source=True, settings=Settings(unit_objects=20))
    before = answers(copied / "backup")
    code = "import sys; from warehouse.lake.backup import backup; backup(sys.argv[1], sys.argv[2])"
    with subprocess.Popen([sys.executable, "-c", code, str(copied / "backup"), str(copied / "lake")]) as running:
        there = len(list((copied / "backup/data").rglob("*")))
        while running.poll() is None and len(list((copied / "backup/data").rglob("*"))) == there:
            pass
        running.send_signal(signal.SIGKILL)
    if running.returncode == -signal.SIGKILL:  # it was quick: then there is nothing to see but that it went well
        assert backups.verify(copied / "backup").holds
        assert answers(copied / "backup") == before
    done = backups.backup(copied / "backup", str(copied / "lake"))
    assert backups.verify(copied / "backup").holds
    assert answers(copied / "backup") == answers(copied / "lake")
    assert not list((copied / "backup").rglob("*.part"))
    assert done.files == len(list((copied / "backup/data").rglob("*.parquet")))


@pytest.mark.parametrize("spoilt", ["truncated", "changed", "missing", "catalogue changed", "catalogue no database"])
def test_verify_finds_what_is_wrong_and_names_it(copied: Path, here: Chest, spoilt: str) -> None:
    folder = copied / "backup"
    victim = a_file_of(folder)
    match spoilt:
        case "truncated":
            victim.write_bytes(victim.read_bytes()[:-7])
        case "changed":
            content = bytearray(victim.read_bytes())
            content[len(content) // 2] ^= 1
            victim.write_bytes(content)
        case "missing":
            victim.unlink()
        case "catalogue changed":
            with (folder / "catalog.sqlite").open("r+b") as file:
                file.seek(-1, 2)
                file.write(b"x")
        case _:
            (folder / "catalog.sqlite").write_bytes(b"no database" * 500)
    done = here("backup", folder, "--verify", "-q")
    name = "catalog.sqlite" if "catalogue" in spoilt else victim.relative_to(folder).as_posix()
    assert done.returncode == 1
    assert name in done.stdout
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2  # what it is, and the one fault


def test_the_checksums_are_those_of_sha256sum(original: Path) -> None:
    if not shutil.which("sha256sum"):
        pytest.skip("there is no sha256sum (coreutils)")
    command = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=original / "backup", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (original / "backup").stat().st_mode & 0o027 == 0


@pytest.mark.slow
def test_a_damaged_lake_is_named_and_the_old_backup_stays(copied: Path) -> None:
    (copied / "more").mkdir()
    (copied / "more" / "notes.txt").write_text("a new snapshot, so that there is something to do")
    warehouse.refresh(str(copied / "more"), str(copied / "lake"), add_source=True)
    old = (copied / "backup/catalog.sqlite").read_bytes()
    victim = next(
        path
        for path in sorted((copied / "lake/data").rglob("*.parquet"))
        if not (copied / "backup/data" / path.relative_to(copied / "lake/data")).exists()
    )
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-3])
    with pytest.raises(LakeError, match=victim.name):
        backups.backup(copied / "backup", str(copied / "lake"))
    victim.unlink()
    with pytest.raises(LakeError, match=f"damaged.*{victim.name}"):
        backups.backup(copied / "backup", str(copied / "lake"))
    assert (copied / "backup/catalog.sqlite").read_bytes() == old
    assert backups.verify(copied / "backup").holds


@pytest.mark.slow
def test_what_is_refused(copied: Path, bucket: Path, tmp_path: Path, here: Chest) -> None:
    source = copied / "lake"

    def refused(folder: Path, address: object, because: str) -> None:
        with pytest.raises(WarehouseError, match=because) as caught:
            backups.backup(folder, str(address))
        assert caught.value.exit_code == 2

    refused(tmp_path / "b", tmp_path / "none", "There is no lake")
    refused(source / "inside", source, "overlap")
    refused(source, source, "overlap")
    refused(bucket, source, "not a backup")
    refused(bucket / "truth.json", source, "is a file")
    done = here("backup", bucket, "--verify", "-q")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "is not a backup" in done.stderr
    refused(tmp_path / "b", "postgres://h/d?data_path=/x", "pg_dump")
    warehouse.refresh(str(bucket), str(tmp_path / "other"))
    refused(copied / "backup", tmp_path / "other", "another lake")
    warehouse.refresh(str(bucket), str(source), add_source=True)
    shutil.copytree(copied / "backup", tmp_path / "older")
    backups.backup(copied / "backup", str(source))
    refused(copied / "backup", tmp_path / "older", "restored to an earlier state")
    with (
        store.open_writer(location.parse_address(str(copied / "backup")), Settings()),
        pytest.raises(LakeBusyError, match="Another backup"),
    ):
        backups.backup(copied / "backup", str(source))


@pytest.mark.slow
def test_a_lake_moves_to_postgresql_and_is_restored_by_pg_dump(original: Path, copied: Path, chest: Chest) -> None:
    """Its Parquet files lie on S3 afterwards; every snapshot answers as before, and the next refresh goes on."""
    old = copied / "lake"
    before = [answers(old), answers(old, first := first_published(old))]
    with serve_postgres() as server, serve_moto() as s3:
        server.run("create database chest")
        address = server.address("chest", "s3://parquet/lake")
        client = s3.client()
        client.create_bucket(Bucket="parquet")
        done = chest("move", address, "--lake", old, env={**os.environ, **s3.environment})
        assert (done.returncode, "p@ss" in done.stderr, "Nothing was moved" in done.stderr) == (2, False, True)
        for path in (old / "data").rglob("*.parquet"):
            client.upload_file(str(path), "parquet", f"lake/{path.relative_to(old / 'data').as_posix()}")
        done = chest("move", address, "--lake", old, env={**os.environ, **s3.environment})
        assert done.returncode == 0, done.stderr
        done = chest("move", address, "--lake", old, env={**os.environ, **s3.environment})
        assert (done.returncode, "is already a lake" in done.stderr) == (2, True)

        # By hand, as in docs/operations.md: pg_dump first, then the data files; restored into a new database.
        dump = server.dump("chest")
        server.run("create database restored")
        server.restore("restored", dump)
        with pytest.MonkeyPatch.context() as there:
            for name, value in s3.environment.items():
                there.setenv(name, value)
            for database in ("chest", "restored"):
                place = server.address(database, "s3://parquet/lake")
                assert [answers(place), answers(place, first)] == before
            again = warehouse.refresh(str(original / "bucket"), address)
            assert again.published.is_new is False
            (original / "bucket/training/new.json").write_text("{}")
            assert warehouse.refresh(str(original / "bucket"), address).published.is_new


def first_published(folder: Path) -> int:
    with warehouse.open(str(folder)) as wh:
        return min(s.number for s in store.list_snapshots(wh.con) if s.is_published)
