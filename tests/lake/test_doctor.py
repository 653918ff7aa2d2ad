"""chest doctor: whatever is damaged in a lake is found, and what the bucket or a backup has is repaired."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, start_lake, write_objects
from torture.moments import list_children

import warehouse
from warehouse.errors import DamagedError, LakeError, UsageError
from warehouse.lake import backup as backups
from warehouse.lake import connection, doctor, location, migrations, store
from warehouse.lake.doctor import Kind
from warehouse.lake.listed_files import list_files
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

#: The tables that a repair and a refresh restore, and the columns that state when something was done.
TABLES = {
    "raw.objects": "",
    "raw.headers": "",
    "raw.records": "",
    "core.images": "",
    "core.clinical": "",
    "core.clinical_issues": "",
    "core.dicom_attributes": "",
    "ops.rejects": "exclude (first_seen, last_seen)",
}
#: Tables whose rows only a backup has.
IRREPLACEABLE = ("ops/refreshes", "ops/manifests")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket; its lake after two refreshes, which added, replaced, removed and rejected; and a backup."""
    root = tmp_path_factory.mktemp("original")
    make_bucket(root / "bucket", 4)
    write_objects(root / "bucket", {"training/Odd/data/2020-03-01/data.json": "[]"})
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    headers = sorted((root / "bucket").rglob("images_metadata/**/*.json"))
    headers[0].unlink()
    for changed in (headers[1], *sorted((root / "bucket").rglob("data*.json"))[:1]):
        changed.write_bytes(changed.read_bytes() + b"\n")
    warehouse.refresh(str(root / "bucket"), str(root / "lake"), allow_removals=True)
    backups.backup(root / "backup", str(root / "lake"))
    return root


@pytest.fixture(scope="module")
def rows(original: Path) -> dict[str, list[Any]]:
    """The rows of the lake before anything happened to it."""
    return read_rows(original / "lake")


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Path:
    """A copy of the lake to be damaged."""
    shutil.copytree(original / "lake", tmp_path / "lake")
    return tmp_path / "lake"


def read_rows(lake: Path) -> dict[str, list[Any]]:
    with store.open_writer(location.parse_address(str(lake)), Settings()) as con:
        return {
            table: con.execute(f"select * {less} from {table} order by all").fetchall()
            for table, less in TABLES.items()
        }


def list_parquet(lake: Path) -> list[Path]:
    """The files that the catalogue lists."""
    place = location.parse_address(str(lake))
    with contextlib.closing(connection.connect(Settings(), place)) as con:
        connection.attach(con, place, "read_only")
        return [lake / "data" / file.path for file in list_files(con, place)]


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def find(lake: Path) -> dict[str, Kind]:
    return {found.where: found.kind for found in doctor.examine(str(lake)).findings}


def repair_and_refresh(lake: Path, bucket: Path) -> None:
    doctor.repair(str(lake))
    warehouse.refresh(str(bucket), str(lake))


def in_process(lake: Path, code: str) -> None:
    """Run code with the SQLite catalogue as `con` in a process of its own."""
    text = f"import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as con: {code}"
    subprocess.run([sys.executable, "-c", text, str(lake / "catalog.sqlite")], check=True)


def flip_all(lake: Path, seed: int) -> set[str]:
    """Flip one bit of every data and delete file: in its pages, in its footer, or anywhere; returns their names."""
    chance = random.Random(seed)
    flipped = set()
    for path in list_parquet(lake):
        name = path.relative_to(lake / "data").as_posix()
        if name.startswith(("ops/files/", *IRREPLACEABLE)):
            continue
        size = path.stat().st_size
        first, last = {1: (4, size // 2), 2: (max(4, size - 300), size), 3: (0, size)}[seed]
        flip(path, chance.randrange(first, last), chance.randrange(8))
        flipped.add(name)
    return flipped


@pytest.mark.slow
def test_every_flipped_bit_is_found_and_repaired(
    original: Path, lake: Path, rows: dict[str, list[Any]], tmp_path: Path
) -> None:
    n_flips = n_of_deletes = 0
    for seed in (1, 2, 3):
        shutil.rmtree(lake)
        shutil.copytree(original / "lake", lake)
        flipped = flip_all(lake, seed)
        n_flips += len(flipped)
        n_of_deletes += sum("-delete" in name for name in flipped)
        assert find(lake) == dict.fromkeys(flipped, Kind.DAMAGED)
        with pytest.raises(DamagedError, match=r"are not what was written.*chest doctor") as error:
            backups.backup(tmp_path / "backup", str(lake))
        assert sum(name in str(error.value) for name in flipped) == min(20, len(flipped))
    assert n_flips >= 40
    assert n_of_deletes >= 12
    repair_and_refresh(lake, original / "bucket")
    assert read_rows(lake) == rows
    left = doctor.examine(str(lake)).findings
    assert {found.kind for found in left} == {Kind.MISSING}  # of older snapshots, which no refresh restores
    assert all("only in snapshot" in found.what and "--from-backup" in found.do for found in left)
    with warehouse.open(str(lake)) as wh:
        assert not [found for found in wh.check() if found.n_rows and found.check.severity == "blocking"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "tables",
    [
        ("raw/objects", "core/dicom_attributes"),
        ("core/images", "core/clinical_issues", "ops/rejects"),
        ("raw/headers", "core/clinical/"),
    ],
)
def test_what_a_missing_or_cut_file_had_is_loaded_again(
    tables: tuple[str, ...], original: Path, lake: Path, rows: dict[str, list[Any]]
) -> None:
    """What was loaded besides from the same objects stays or is found again."""
    files = [path for path in list_parquet(lake) if any(table in path.as_posix() for table in tables)]
    for n, path in enumerate(files):
        if n % 2:
            os.truncate(path, path.stat().st_size - 7)
        else:
            path.unlink()
    assert find(lake) == {
        path.relative_to(lake / "data").as_posix(): Kind.DAMAGED if path.exists() else Kind.MISSING for path in files
    }
    with pytest.raises(LakeError, match=r"is damaged.*chest doctor"):
        warehouse.refresh(str(original / "bucket"), str(lake))
    repair_and_refresh(lake, original / "bucket")
    assert read_rows(lake) == rows


@pytest.mark.slow
def test_a_query_of_a_damaged_file_names_the_doctor(lake: Path, here: Chest) -> None:
    for path in (lake / "data/raw/headers").rglob("*.parquet"):
        os.truncate(path, path.stat().st_size // 2)
    done = here("sql", "select count(header) from headers", "--lake", lake)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Examine the lake:  chest doctor" in done.stderr
    with warehouse.open(str(lake)) as wh, pytest.raises(LakeError, match="chest doctor"):
        wh.check()


@pytest.mark.slow
def test_a_healthy_lake_and_one_that_is_not_on_the_command_line(original: Path, lake: Path, here: Chest) -> None:
    done = here("doctor", "--lake", lake, "-q")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Healthy.")
    damaged = max(list_parquet(lake), key=lambda path: "core/images" in path.as_posix())
    flip(damaged, 60, 3)
    done = here("doctor", "--lake", lake, "-q")
    assert done.returncode == 1
    assert damaged.name in done.stdout
    assert all(len(line) <= 80 or damaged.name in line or str(lake) in line for line in done.stdout.splitlines())
    found = json.loads(here("doctor", "--lake", lake, "-q", "--format", "json").stdout)
    assert [one["kind"] for one in found["findings"]] == ["damaged"]
    assert all("\n" not in found["findings"][0][part] for part in ("where", "what", "do"))
    done = here("doctor", "--lake", lake, "-q", "--repair", "--from-backup", original / "backup")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Repaired: nothing is left.")
    assert here("doctor", "--lake", lake / "none", "-q").returncode == 2
    assert here("doctor", "--lake", lake, "--source", original / "bucket").returncode == 2


def test_lost_files_are_put_back_from_a_backup_byte_for_byte(original: Path, lake: Path, here: Chest) -> None:
    lost = [path for path in list_parquet(lake) if "/data/ops/" not in path.as_posix()]
    for path in lost:
        path.unlink()
    what = [found.what for found in doctor.examine(str(lake)).findings]
    assert len(what) == len(lost)
    assert any("only in snapshot" in one for one in what)  # older ones need it
    done = here("doctor", "--lake", lake, "-q", "--repair", "--from-backup", original / "backup")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Repaired: nothing is left.")
    assert all(path.read_bytes() == (original / path.relative_to(lake.parent)).read_bytes() for path in lost)


@pytest.mark.slow
def test_repair_with_a_source_loads_again_what_was_dropped(
    original: Path, lake: Path, rows: dict[str, list[Any]], here: Chest
) -> None:
    for path in (lake / "data/core/images").rglob("*.parquet"):
        path.unlink()
    done = here("doctor", "--lake", lake, "-q", "--repair", "--source", original / "bucket")
    assert "the next refresh loads its" in done.stdout
    assert read_rows(lake) == rows


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "overwritten", "empty", "missing"])
def test_a_damaged_catalogue_is_restored_from_a_backup(
    damage: str, original: Path, lake: Path, rows: dict[str, list[Any]]
) -> None:
    catalogue = lake / "catalog.sqlite"
    size = catalogue.stat().st_size
    if damage == "missing":
        catalogue.unlink()
    else:
        os.truncate(catalogue, {"cut": size - 2000, "overwritten": size // 2, "empty": 0}[damage])
    if damage == "overwritten":
        os.truncate(catalogue, size)
    report = doctor.examine(str(lake))
    assert [found.kind for found in report.findings] == [Kind.CATALOGUE]
    assert "--from-backup" in report.findings[0].do
    if damage != "cut":
        return
    assert not doctor.repair(str(lake)).after.is_readable  # nothing else is done
    done = doctor.repair(str(lake), from_backup=original / "backup")
    assert done.after.is_healthy
    warehouse.refresh(str(original / "bucket"), str(lake))
    assert read_rows(lake) == rows
    assert doctor.examine(str(lake)).is_healthy


@pytest.mark.slow
def test_what_a_repair_has_kept_is_not_replaced_by_the_next(original: Path, lake: Path) -> None:
    catalogue = lake / "catalog.sqlite"
    (lake / "catalog.sqlite.damaged").mkdir()  # whatever has the name
    for _ in range(2):
        os.truncate(catalogue, catalogue.stat().st_size - 2000)
        assert doctor.repair(str(lake), from_backup=original / "backup").after.is_healthy
    kept = {path.name for path in lake.glob("*.damaged") if path.is_file()}
    assert kept == {"catalog.sqlite.2.damaged", "catalog.sqlite.3.damaged"}


@pytest.mark.slow
def test_an_older_catalogue_is_restored_and_what_came_later_is_loaded_again(original: Path, lake: Path) -> None:
    late = {"training/Late/data/2020-04-01/data.json": '{"Pseudonym": "Late"}'}
    write_objects(original / "bucket", late)
    try:
        warehouse.refresh(str(original / "bucket"), str(lake))
        expected = read_rows(lake)
        os.truncate(lake / "catalog.sqlite", (lake / "catalog.sqlite").stat().st_size - 2000)
        done = doctor.repair(str(lake), from_backup=original / "backup")
        assert done.to_load
        assert {found.kind for found in done.after.findings} == {Kind.ORPHAN}  # what came later is not removed at once
        warehouse.refresh(str(original / "bucket"), str(lake))
        assert read_rows(lake) == expected
    finally:
        shutil.rmtree(original / "bucket/training/Late")


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("words", [("doctor", "--repair", "--from-backup", "BACKUP"), ("backup", "--verify", "BACKUP")])
def test_a_catalogue_that_could_not_be_read_is_not_called_damaged(
    original: Path, lake: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """What reads it is killed, as the system does when memory runs out, while it waits for another process."""
    backup = shutil.copytree(original / "backup", tmp_path / "backup")
    read = (backup if "--verify" in words else lake) / "catalog.sqlite"
    before = read.read_bytes()
    command = [sys.executable, "-c", "from warehouse.cli import main; main()"]
    given = [str(backup) if word == "BACKUP" else word for word in words]
    with contextlib.closing(sqlite3.connect(read)) as con:
        con.execute("begin exclusive")
        with subprocess.Popen([*command, *given], env={**os.environ, "CHEST_LAKE": str(lake)}, stderr=-1) as process:
            while not (children := list_children(process.pid)):
                assert process.poll() is None
            os.kill(children[0], signal.SIGKILL)
            error = process.communicate()[1].decode()
    assert process.returncode == 2
    assert "reading the catalogue" in error
    assert "was killed (SIGKILL)" in error
    assert read.read_bytes() == before


def test_a_row_of_the_catalogue_that_refers_to_nothing_is_found(lake: Path) -> None:
    in_process(lake, "con.execute('update ducklake_data_file set table_id = 999 where data_file_id = 7')")
    (found,) = [one for one in doctor.examine(str(lake)).findings if one.kind is Kind.CATALOGUE]
    assert "files of a table that it does not have" in found.what
    in_process(lake, "con.execute('update ducklake_data_file set record_count = record_count + 1')")
    assert "the file itself" in " ".join(one.what for one in doctor.examine(str(lake)).findings)


@pytest.mark.slow
def test_a_restored_catalogue_and_a_second_lake_on_the_data_path(lake: Path) -> None:
    mark = lake / "data/lake.json"
    there = json.loads(mark.read_text(encoding="utf-8"))
    mark.write_text(json.dumps({**there, "snapshot": there["snapshot"] + 5}), encoding="utf-8")
    (found,) = doctor.examine(str(lake)).findings
    assert found.kind is Kind.PLACE
    assert "it is an older copy" in found.what
    mark.write_text(json.dumps({**there, "lake": "another"}), encoding="utf-8")
    (found,) = doctor.examine(str(lake)).findings
    assert "two lakes share this data path" in found.what
    write_objects(lake / "data", {"core/orphan.parquet": "PAR1"})
    assert len(doctor.repair(str(lake)).after.findings) == 2  # nothing is removed from files of another lake
    mark.write_text(json.dumps(there), encoding="utf-8")
    write_objects(lake / "data", {"inside/lake.json": json.dumps(there)})
    assert "lies in another" in " ".join(one.what for one in doctor.examine(str(lake)).findings)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("name", ["data/lake.json", "data/lake.key"])
def test_small_files_that_are_no_longer_text_are_explained(original: Path, lake: Path, name: str, here: Chest) -> None:
    with (lake / name).open("ab") as file:
        file.write(b"\x91\xff")
    for words in (("sql", "select 1"), ("doctor", "-q"), ("refresh", original / "bucket", "-q")):
        done = here(*words, "--lake", lake)  # which fails for a traceback
        assert done.returncode == 0 or ". " in done.stderr or done.stdout.splitlines()[-1] != "Healthy.", words
    assert (lake / name).read_bytes()


def test_orphans_and_what_dead_processes_left_are_removed(lake: Path) -> None:
    write_objects(lake / "data", {"core/images/ducklake-dead.parquet": "PAR1"})
    (lake / f"data/chest-tmp-{'0' * 32}").mkdir()
    (lake / f".chest-part-{'1' * 32}").write_bytes(b"")
    assert set(find(lake).values()) == {Kind.ORPHAN, Kind.LEFTOVER}
    done = doctor.repair(str(lake))
    assert (len(done.done), done.after.findings) == (3, ())
    assert not list(lake.rglob(".chest-part-*"))


@pytest.mark.slow
def test_the_lock_of_a_living_writer_is_shown_and_that_of_a_dead_one_is_free(lake: Path) -> None:
    code = (
        "import sys\nfrom warehouse.lake import location, store\nfrom warehouse.settings import Settings\n"
        "with store.open_writer(location.parse_address(sys.argv[1]), Settings()):\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(lake)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "held\n"
    write_objects(lake / "data", {"core/images/ducklake-new.parquet": "PAR1"})
    report = doctor.examine(str(lake))
    assert f"process {writer.pid} is writing" in report.note
    assert report.is_healthy  # the file may be the writer's
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    report = doctor.examine(str(lake))
    assert not report.note
    assert [found.kind for found in report.findings] == [Kind.ORPHAN]
    assert doctor.repair(str(lake)).after.is_healthy


@pytest.mark.slow
def test_rows_that_no_bucket_has_are_given_up_only_with_consent(original: Path, lake: Path) -> None:
    (damaged,) = [path for path in list_parquet(lake) if "ops/refreshes" in path.as_posix()][:1]
    flip(damaged, 50, 1)
    report = doctor.repair(str(lake)).after
    assert [found.kind for found in report.findings] == [Kind.DAMAGED]
    assert "Only a backup has the rows of ops.refreshes" in report.findings[0].do
    copy = lake.parent / "copy"
    shutil.copytree(lake, copy)
    done = doctor.repair(str(copy), accept_loss=True)
    assert "are lost" in done.done[0]
    assert "only in snapshot" in done.after.findings[0].what
    assert doctor.repair(str(lake), from_backup=original / "backup").after.is_healthy
    with pytest.raises(UsageError, match="is not a backup"):
        doctor.repair(str(lake), from_backup=original / "bucket")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["ops/migrations", "ops/files"])
def test_the_lake_s_own_books_are_written_again(table: str, lake: Path) -> None:
    for path in [path for path in list_parquet(lake) if table in path.as_posix()]:
        flip(path, path.stat().st_size - 30, 2)
    found = find(lake)
    assert set(found.values()) <= {Kind.DAMAGED, Kind.VERSION}
    assert sum(table in name for name in found) >= 1
    left = doctor.repair(str(lake)).after
    assert all("only in snapshot" in found.what for found in left.findings)
    assert left.unrecorded == 0
    with store.open_writer(location.parse_address(str(lake)), Settings()) as con:
        found_migrations = con.execute("select number from ops.migrations order by number").fetchall()
    assert [number for (number,) in found_migrations] == [number for number, _ in migrations.list_migrations()]


def test_a_backup_of_a_damaged_file_is_found_by_verify(lake: Path, tmp_path: Path) -> None:
    """As one that was made before checksums were recorded: its own checksums are of the damaged bytes."""
    backups.backup(tmp_path / "backup", str(lake))
    path = max(list_parquet(tmp_path / "backup"), key=lambda path: "raw/headers" in path.as_posix())
    name = path.relative_to(tmp_path / "backup").as_posix()
    old = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    flip(path, 40, 1)
    new = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    sums = tmp_path / "backup/SHA256SUMS"
    sums.write_text(sums.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    verified = backups.verify(tmp_path / "backup")
    assert len(verified.faults) == 1
    assert name in verified.faults[0]
    assert backups.backup(tmp_path / "backup", str(lake)).copied == 1  # the copy is replaced
    assert backups.verify(tmp_path / "backup").holds


def test_a_refresh_without_changes_commits_nothing(original: Path, lake: Path) -> None:
    def newest() -> int:
        with store.open_writer(location.parse_address(str(lake)), Settings()) as con:
            return store.list_snapshots(con)[-1].number

    before = newest()
    warehouse.refresh(str(original / "bucket"), str(lake))
    assert newest() == before
