"""Somebody else's lake or backup with links and pipes in it: nothing outside of it is read, copied or written."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Chest, start_lake, write_objects

import warehouse
from warehouse.errors import LakeError, WarehouseError
from warehouse.lake import backup as backups
from warehouse.lake import doctor, read_copy
from warehouse.lake.location import parse_address

SECRET = b"-----BEGIN PRIVATE KEY-----\nprecious\n"
Plant = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake and its backup."""
    root = tmp_path_factory.mktemp("made")
    records = {f"training/P{n}/data/2020-03-01/data.json": '{"Age": "5"}' for n in range(3)}
    write_objects(root / "bucket", records)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    backups.backup(root / "backup", str(root / "lake"))
    (root / "lake/backups.txt").unlink()
    return root


@pytest.fixture
def theirs(made: Path, tmp_path: Path) -> Path:
    """A folder with their lake and backup, beside files of whoever opens them."""
    for name in ("lake", "backup"):
        shutil.copytree(made / name, tmp_path / "theirs" / name)
    write_objects(tmp_path / "mine", {".ssh/authorized_keys": "mine", "id_rsa": SECRET})
    return tmp_path / "theirs"


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def nothing_of_mine_changes(theirs: Path) -> "contextlib._GeneratorContextManager[Path]":  # type: ignore[misc]
    """Nor does anything of it appear in their folder, or in a backup."""
    mine = theirs.parent / "mine"
    before = read_all(mine)
    yield mine
    assert read_all(mine) == before
    copies = [path for path in theirs.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    copies = [path for path in copies if not path.is_relative_to(mine)]
    assert not [path for path in copies if b"precious" in path.read_bytes()]


def a_file_of(folder: Path) -> Path:
    return sorted((folder / "data/core/clinical").rglob("*.parquet"))[0]


def lists_a_key(backup: Path, name: str = ".ssh/authorized_keys") -> None:
    """The catalogue of a backup lists a file of theirs under a name of mine, with its checksum."""
    content = b"ssh-ed25519 theirs"
    write_objects(backup / "data", {name: content})
    with contextlib.closing(sqlite3.connect(backup / "catalog.sqlite")) as con, con:
        con.execute("update ducklake_table set path = '' where table_name = 'rejects'")
        con.execute("update ducklake_schema set path = '' where schema_name = 'ops'")
        con.execute(
            "update ducklake_data_file set path = ?, file_size_bytes = ?, table_id = "
            "(select table_id from ducklake_table where table_name = 'rejects') where data_file_id = 1",
            (name, len(content)),
        )
    with (backup / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(content).hexdigest()}  data/{name}\n")


@pytest.mark.slow
def test_a_restored_catalogue_puts_nothing_back_through_a_link(theirs: Path, here: Chest) -> None:
    lake = theirs / "lake"
    shutil.rmtree(lake / "data")
    (lake / "catalog.sqlite").write_bytes(b"no database" * 500)
    with nothing_of_mine_changes(theirs) as mine:
        (lake / "data").symlink_to(mine)
        for spoil in (lambda: None, lambda: lists_a_key(theirs / "backup")):
            spoil()
            refused = here("doctor", "--repair", "--from-backup", theirs / "backup", "--lake", lake)
            assert refused.returncode == 2
            assert "is a link to" in refused.stderr


@pytest.mark.parametrize(
    "name",
    [
        ".ssh/authorized_keys",
        "bin/tool",
        "core/.hidden/ducklake-01a22a72-f363-795f-b3e8-9fca3ec281dc.parquet",
        "ducklake-01a22a72-f363-795f-b3e8-9fca3ec281dc.parquet",
        "../mine/ducklake-01a22a72-f363-795f-b3e8-9fca3ec281dc.parquet",
        "a\\ducklake-01a22a72-f363-795f-b3e8-9fca3ec281dc.parquet",
        "a/ducklake-01a22a72-f363-795f-b3e8-9fca3ec281dc.parquet\n",
    ],
)
def test_only_data_files_of_a_lake_are_backed_up_and_restored(name: str, theirs: Path, here: Chest) -> None:
    lake = theirs / "lake"
    lists_a_key(theirs / "backup", name)
    with pytest.raises(LakeError, match="lists what is no data file"):
        backups.backup(theirs.parent / "copy", str(theirs / "backup"))
    with pytest.raises(LakeError, match="lists what is no data file"):
        backups.verify(theirs / "backup")
    (lake / "catalog.sqlite").write_bytes(b"no database" * 500)
    before = read_all(lake)
    refused = here("doctor", "--repair", "--from-backup", theirs / "backup", "--lake", lake)
    assert (refused.returncode, "lists what is no data file" in refused.stderr) == (2, True)
    assert {name: text for name, text in read_all(lake).items() if name != "writer.lock"} == {
        name: text for name, text in before.items() if name != "writer.lock"
    }


@pytest.mark.parametrize("spoilt", ["changed", "without its checksum", "by a link"])
def test_a_catalogue_is_restored_only_with_the_files_that_the_backup_recorded(spoilt: str, theirs: Path) -> None:
    lake, backup = theirs / "lake", theirs / "backup"
    victim = a_file_of(backup)
    name = victim.relative_to(backup).as_posix()
    (lake / name).unlink()
    (lake / "catalog.sqlite").write_bytes(b"no database" * 500)
    sums = (backup / "SHA256SUMS").read_text()
    if spoilt == "changed":
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif spoilt == "without its checksum":
        (backup / "SHA256SUMS").write_text("".join(line for line in sums.splitlines(True) if name not in line))
    else:
        victim.rename(theirs.parent / "mine/a.parquet")
        victim.symlink_to(theirs.parent / "mine/a.parquet")
    with pytest.raises(LakeError, match=victim.name):
        doctor.repair(str(lake), from_backup=backup)
    assert not (lake / name).exists()
    assert (lake / "catalog.sqlite").read_bytes() == b"no database" * 500


@pytest.mark.slow
def test_a_single_file_is_not_put_back_beside_a_link(theirs: Path) -> None:
    lost = a_file_of(theirs / "lake")
    lost.unlink()
    with nothing_of_mine_changes(theirs) as mine:
        (theirs / "lake/data/new").symlink_to(mine)
        done = doctor.repair(str(theirs / "lake"), from_backup=theirs / "backup", accept_loss=True)
        assert {found.kind for found in done.after.findings} == {doctor.Kind.PLACE, doctor.Kind.MISSING}
        assert not done.done
    (theirs / "lake/data/new").unlink()
    assert doctor.repair(str(theirs / "lake"), from_backup=theirs / "backup").after.is_healthy
    assert lost.exists()


def _key(lake: Path, mine: Path) -> None:
    (lake / "data/lake.key").unlink()
    (lake / "data/lake.key").symlink_to(mine / "id_rsa")


def _data_file(lake: Path, mine: Path) -> None:
    victim = a_file_of(lake)
    (mine / "id_rsa").write_bytes(SECRET.ljust(victim.stat().st_size))
    victim.unlink()
    victim.symlink_to(mine / "id_rsa")


def _folder(lake: Path, mine: Path) -> None:
    (lake / "data/core/clinical").rename(mine / "clinical")
    (lake / "data/core/clinical").symlink_to(mine / "clinical")


def _data(lake: Path, mine: Path) -> None:
    (lake / "data").rename(mine / "data")
    (mine / "data/lake.json").unlink(missing_ok=True)
    (lake / "data").symlink_to(mine / "data")


def _data_of_another_lake(lake: Path, mine: Path) -> None:
    (lake / "data").rename(mine / "data")
    (mine / "data/lake.json").write_text('{"lake": "another", "snapshot": 1}')
    (mine / "data/lake.key").write_text(f"{'ab' * 32}\n")
    (lake / "data").symlink_to(mine / "data")


def _catalogue(lake: Path, mine: Path) -> None:
    (lake / "catalog.sqlite").rename(mine / "catalog.sqlite")
    (lake / "catalog.sqlite").symlink_to(mine / "catalog.sqlite")


def _copy_for_readers(lake: Path, mine: Path) -> None:
    (lake / "catalog.read.sqlite").unlink(missing_ok=True)
    (lake / "catalog.read.sqlite").symlink_to(mine / "catalog.read.sqlite")


def _pipe(lake: Path, _: Path) -> None:
    a_file_of(lake).unlink()
    os.mkfifo(lake / "data/core/clinical/pipe")


def _key_that_is_none(lake: Path, _: Path) -> None:
    (lake / "data/lake.key").write_text("no key")


PLANTS = [_key, _data_file, _folder, _data, _data_of_another_lake, _catalogue, _pipe]


@pytest.mark.parametrize("plant", [*PLANTS, _key_that_is_none])
def test_a_backup_follows_no_link(plant: Plant, theirs: Path, here: Chest) -> None:
    plant(theirs / "lake", theirs.parent / "mine")
    with nothing_of_mine_changes(theirs):
        refused = here("backup", theirs.parent / "copy", "--lake", theirs / "lake")
        assert refused.returncode in (1, 2)
        assert not list((theirs.parent / "copy").rglob("*.parquet"))
        assert not list((theirs.parent / "copy").rglob("lake.key"))


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("plant", [*PLANTS, _copy_for_readers])
def test_nothing_is_written_repaired_or_purged_through_a_link(
    plant: Plant, made: Path, theirs: Path, here: Chest
) -> None:
    plant(theirs / "lake", theirs.parent / "mine")
    week = time.time() - 7 * 86_400
    orphan = theirs.parent / "mine/clinical/orphan.parquet"
    write_objects(orphan.parent, {orphan.name: "PAR1"})
    os.utime(orphan, (week, week))
    with nothing_of_mine_changes(theirs):
        for words in (
            ["refresh", made / "bucket"],
            ["maintain", "--keep-days", "0", "--allow-orphans"],
            ["doctor", "--repair", "--accept-loss"],
            ["doctor", "--repair", "--from-backup", theirs / "backup"],
        ):
            assert here(*words, "--lake", theirs / "lake").returncode in (1, 2), words


@pytest.mark.parametrize("plant", PLANTS)
def test_verify_follows_no_link_in_a_backup(plant: Plant, theirs: Path, here: Chest) -> None:
    plant(theirs / "backup", theirs.parent / "mine")
    with nothing_of_mine_changes(theirs):
        assert here("backup", theirs / "backup", "--verify", "-q").returncode in (1, 2)


@pytest.mark.parametrize("name", ["data", "data/core/clinical", "catalog.sqlite", "SHA256SUMS"])
def test_a_backup_is_not_made_where_a_link_leads_elsewhere(name: str, theirs: Path) -> None:
    """Such a folder would have had files removed that the lake does not list."""
    backup = theirs / "backup"
    with contextlib.ExitStack() as stack:
        (backup / name).rename(theirs.parent / "mine/moved")
        write_objects(
            theirs.parent / "mine", {"moved/precious": "precious"} if (theirs.parent / "mine/moved").is_dir() else {}
        )
        (backup / name).symlink_to(theirs.parent / "mine/moved")
        stack.enter_context(nothing_of_mine_changes(theirs))
        with pytest.raises(WarehouseError):
            backups.backup(backup, str(theirs / "lake"))


def test_pipes_at_names_of_ours_do_not_stop_a_backup(theirs: Path) -> None:
    for place in (theirs / "backup/BACKUP.txt", theirs / "lake/backups.txt"):
        place.unlink(missing_ok=True)
        os.mkfifo(place)
    backups.backup(theirs / "backup", str(theirs / "lake"))
    assert (theirs / "lake/backups.txt").read_text() == f"{theirs / 'backup'}\n"


def test_what_a_list_of_backups_links_to_is_not_copied_into_the_lake(theirs: Path) -> None:
    with nothing_of_mine_changes(theirs) as mine:
        (theirs / "lake/backups.txt").symlink_to(mine / "id_rsa")
        backups.backup(theirs / "backup", str(theirs / "lake"))
        assert (theirs / "lake/backups.txt").read_text() == f"{theirs / 'backup'}\n"


@pytest.mark.parametrize("name", ["core/images/year=2019", "core/clinical/year=2020", "ops/new", "new"])
def test_a_refresh_does_not_write_into_a_folder_that_is_a_link(
    name: str, made: Path, theirs: Path, here: Chest
) -> None:
    folder = theirs / "lake/data" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with nothing_of_mine_changes(theirs) as mine:
        folder.symlink_to(mine)
        for words in (["refresh", made / "bucket"], ["maintain"]):
            refused = here(*words, "--lake", theirs / "lake")
            assert (refused.returncode, f"{name} is a link" in refused.stderr) == (2, True), refused.stderr
        found = here("doctor", "--lake", theirs / "lake")
        assert (found.returncode, "is a link" in " ".join(found.stdout.split())) == (1, True)


def test_a_new_lake_is_not_made_over_folders_that_are_links(made: Path, theirs: Path, here: Chest) -> None:
    new = theirs / "new"
    (new / "data").mkdir(parents=True)
    with nothing_of_mine_changes(theirs) as mine:
        (new / "data/core").symlink_to(mine)
        refused = here("refresh", made / "bucket", "--lake", new)
        assert (refused.returncode, "core is a link" in refused.stderr) == (2, True)


def _link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("make", [os.mkfifo, _link_to_zeros, _huge])
@pytest.mark.parametrize("name", ["data/lake.json", "data/lake.key"])
def test_small_files_are_read_as_small_files(
    name: str, make: Callable[[Path], None], made: Path, theirs: Path, here: Chest
) -> None:
    lake = theirs / "lake"
    (lake / name).unlink()
    make(lake / name)
    for words, code in (
        (["sql", "select count(*) from patients"], (0,)),
        (["status"], (0,)),
        (["doctor"], (0, 1)),
        (["maintain"], (0, 2)),
        (["backup", theirs.parent / "copy"], (0, 1, 2)),
    ):
        assert here(*words, "--lake", lake).returncode in code, words
    if name.endswith("json"):
        refused = here("refresh", made / "bucket", "--lake", lake)
        assert (refused.returncode, name in refused.stderr) == (2, True)


@pytest.mark.slow
def test_readers_take_no_copy_of_the_catalogue_by_a_link(theirs: Path, here: Chest) -> None:
    """It may be the catalogue of another lake, of whoever reads this one."""
    _copy_for_readers(theirs / "lake", theirs.parent / "mine")
    refused = here("status", "--lake", theirs / "lake")
    assert (refused.returncode, "is not opened" in refused.stderr) == (2, True)
    (theirs / "lake/catalog.read.sqlite").unlink()
    assert read_copy.find_read_copy(parse_address(theirs / "lake")) is None
    assert here("status", "--lake", theirs / "lake").returncode == 0


@pytest.mark.slow
def test_own_data_on_another_disk_are_backed_up_and_restored(theirs: Path) -> None:
    lake, disk = theirs / "lake", theirs.parent / "disk"
    (lake / "data").rename(disk)
    (lake / "data").symlink_to(disk)
    before = read_all(disk)
    assert backups.backup(theirs.parent / "copy", str(lake)).copied == len(list(disk.rglob("*.parquet")))
    assert backups.verify(theirs.parent / "copy").holds
    with pytest.raises(WarehouseError, match="overlap"):
        backups.backup(disk / "copy", str(lake))
    lost = [path for path in disk.rglob("*.parquet") if "raw" in path.parts]
    for path in lost:
        path.unlink()
    (lake / "catalog.sqlite").write_bytes(b"no database" * 500)
    assert doctor.repair(str(lake), from_backup=theirs.parent / "copy").after.is_healthy
    assert {name: text for name, text in read_all(disk).items() if name != "lake.json"} == {
        name: text for name, text in before.items() if name != "lake.json"
    }
    assert warehouse.open(str(lake)).sql("select count(*) from patients").fetchall() == [(3,)]


def test_files_wait_in_no_airlock_that_is_a_link(theirs: Path, here: Chest) -> None:
    with nothing_of_mine_changes(theirs) as mine:
        (theirs / "lake/airlock").symlink_to(mine)
        (theirs / "table.csv").write_text("a\n1\n")
        words = ("airlock", "request", theirs / "table.csv", "--agreement", "DUA-1", "--reason", "a", "--by", "A")
        refused = here(*words, "--lake", theirs / "lake")
        assert (refused.returncode, "is a link" in refused.stderr) == (2, True), refused.stderr
