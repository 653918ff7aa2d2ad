"""A catalogue and a data path that do not belong together: nothing is written, and no file is lost."""

import contextlib
import hmac
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Chest, write_objects
from servers import serve_postgres

import warehouse
from warehouse.errors import LakeError
from warehouse.lake.maintenance import maintain
from warehouse.lake.secret import compute_keyed_digest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket and a lake of it; `older` is its catalogue after the first of two refreshes."""
    root = tmp_path_factory.mktemp("made")
    for n in range(2):
        write_objects(root / "bucket", {f"training/P{n}/data/2020-03-01/data.json": '{"Age": "5"}'})
        warehouse.refresh(str(root / "bucket"), str(root / "lake"))
        if not n:
            shutil.copy(root / "lake/catalog.sqlite", root / "older")
    return root


def _empty(made: Path, lake: Path) -> None:
    (lake / "catalog.sqlite").write_bytes(b"")


def _missing(made: Path, lake: Path) -> None:
    (lake / "catalog.sqlite").unlink()


def _cut(made: Path, lake: Path) -> None:
    os.truncate(lake / "catalog.sqlite", 20_000)


def _overwritten(made: Path, lake: Path) -> None:
    (lake / "catalog.sqlite").write_text("something else " * 100)


def _older(made: Path, lake: Path) -> None:
    shutil.copy(made / "older", lake / "catalog.sqlite")


def _of_another(made: Path, lake: Path) -> None:
    warehouse.refresh(str(made / "bucket"), str(lake.with_name("other")))
    shutil.copy(lake.with_name("other") / "catalog.sqlite", lake / "catalog.sqlite")


def _without_files(made: Path, lake: Path) -> None:
    shutil.rmtree(lake / "data/core")


TROUBLES = (_empty, _missing, _cut, _overwritten, _older, _of_another, _without_files)


@pytest.mark.slow(after=10)
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda f: f.__name__.strip("_"))
def test_what_does_not_belong_together_is_not_written(
    made: Path, tmp_path: Path, trouble: object, marked: bool
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(made / "lake", lake)
    trouble(made, lake)  # type: ignore[operator]
    if not marked:
        (lake / "data/lake.json").unlink()
    week = time.time() - 7 * 86_400
    for path in lake.rglob("*.parquet"):
        os.utime(path, (week, week))
    files = sorted(lake.rglob("*.parquet"))
    if trouble is _older and not marked:  # the files of what came since are still kept from maintenance, being many
        return
    for _ in range(2):
        with pytest.raises(LakeError) as caught:
            maintain(str(lake), keep_days=0)
        assert "\n" not in str(caught.value)
        with pytest.raises(LakeError, match=r"[Rr]estor|chest doctor"):
            warehouse.refresh(str(made / "bucket"), str(lake))
    assert sorted(lake.rglob("*.parquet")) == files


def test_maintenance_makes_no_lake_and_many_orphans_stay(made: Path, tmp_path: Path, here: Chest) -> None:
    (tmp_path / "none").mkdir()
    assert here("maintain", "--lake", tmp_path / "none").returncode == 2
    assert [path.name for path in (tmp_path / "none").iterdir()] == []
    lake = tmp_path / "lake"
    shutil.copytree(made / "lake", lake)
    week = time.time() - 7 * 86_400
    for n in range(30):
        path = lake / f"data/core/images/{n}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"PAR1")
        os.utime(path, (week, week))
    done = here("maintain", "--lake", lake)
    assert (done.returncode, "30 of the" in done.stderr) == (2, True)
    assert len(list(lake.rglob("core/images/*.parquet"))) == 30
    assert maintain(str(lake), allow_orphans=True).removed_orphans == 30


def _change(lake: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite")) as con, con:
        for statement in statements:
            con.execute(statement)


def _remove(path: str, *, is_relative: int) -> str:
    values = f"(1, '{path}', {is_relative}, '2020-01-01 00:00:00+00')"
    return f"insert into ducklake_files_scheduled_for_deletion values {values}"


def _by_whole_path(lake: Path, there: Path) -> None:
    _change(lake, _remove(f"{there}/precious", is_relative=0))


def _by_dots(lake: Path, there: Path) -> None:
    _change(lake, _remove(f"core/../../../{there.name}/precious", is_relative=1))


def _by_dots_of_a_whole_path(lake: Path, there: Path) -> None:
    _change(lake, _remove(f"{lake}/data/../../{there.name}/precious", is_relative=0))


def _by_a_link(lake: Path, there: Path) -> None:
    (lake / "data/link").symlink_to(there)
    _change(lake, _remove("link/precious", is_relative=1))


def _by_the_path_of_a_table(lake: Path, there: Path) -> None:
    _change(lake, f"update ducklake_table set path = '{there}/', path_is_relative = 0 where table_name = 'rejects'")


def _by_the_path_of_a_schema(lake: Path, there: Path) -> None:
    _change(lake, f"update ducklake_schema set path = '../../{there.name}/' where schema_name = 'main'")


def _by_a_file_of_no_table(lake: Path, there: Path) -> None:
    _change(lake, f"update ducklake_data_file set table_id = 999, path = '../../{there.name}/precious' where rowid = 1")


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    "lead_out",
    [
        _by_whole_path,
        _by_dots,
        _by_dots_of_a_whole_path,
        _by_a_link,
        _by_the_path_of_a_table,
        _by_the_path_of_a_schema,
        _by_a_file_of_no_table,
    ],
)
def test_a_catalogue_that_names_other_folders_neither_writes_nor_removes_there(
    lead_out: Callable[[Path, Path], None], made: Path, tmp_path: Path, here: Chest
) -> None:
    """A lake may come from somebody else: whoever maintains, repairs or refreshes it loses nothing of their own."""
    lake, there = tmp_path / "lake", tmp_path / "mine"
    shutil.copytree(made / "lake", lake)
    there.mkdir()
    (there / "precious").write_text("precious")
    lead_out(lake, there)
    for words in (["maintain"], ["maintain", "--keep-days", "0", "--allow-orphans"], ["refresh", made / "bucket"]):
        refused = here(*words, "--lake", lake)
        assert refused.returncode == 2, words
        assert "outside its data path" in refused.stderr, words
    found = here("doctor", "--repair", "--accept-loss", "--lake", lake)
    assert found.returncode == 1
    assert "outside its data path" in " ".join(found.stdout.split())
    assert [path.name for path in there.iterdir()] == ["precious"]


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("where", ["above", "beside"])
def test_a_link_in_the_place_of_the_data_has_no_other_files_removed(
    made: Path, tmp_path: Path, where: str, here: Chest
) -> None:
    """The data may be on another disk by a link; theirs is to a folder of whoever opens the lake."""
    lake = tmp_path / "theirs/lake"
    shutil.copytree(made / "lake", lake)
    target = tmp_path if where == "above" else tmp_path / "mine"
    shutil.copytree(lake / "data", target, dirs_exist_ok=True)
    if where == "beside":
        (target / "lake.json").unlink()
    shutil.rmtree(lake / "data")
    (lake / "data").symlink_to(target)
    (target / "mine.parquet").write_text("precious")
    week = time.time() - 7 * 86_400
    os.utime(target / "mine.parquet", (week, week))
    for words in (["maintain"], ["maintain", "--allow-orphans"], ["refresh", made / "bucket"], ["doctor", "--repair"]):
        refused = here(*words, "--lake", lake)
        assert refused.returncode in (1, 2), words
        assert "is a link to" in " ".join((refused.stdout + refused.stderr).split()), words
    assert (target / "mine.parquet").read_text() == "precious"


def test_data_that_were_moved_and_linked_are_written(made: Path, tmp_path: Path, here: Chest) -> None:
    shutil.copytree(made / "lake", tmp_path / "lake")
    (tmp_path / "lake/data").rename(tmp_path / "disk")
    (tmp_path / "lake/data").symlink_to(tmp_path / "disk")
    assert here("maintain", "--lake", tmp_path / "lake").returncode == 0


@pytest.mark.slow
def test_two_catalogues_do_not_share_a_data_path(made: Path, tmp_path: Path) -> None:
    with serve_postgres() as server:
        server.run("create database one")
        server.run("create database two")
        first, second = (server.address(name, tmp_path / "data") for name in ("one", "two"))
        warehouse.refresh(str(made / "bucket"), first)
        for address in (second, server.address("two", tmp_path / "data/below")):
            with pytest.raises(LakeError, match=r"files of a lake|of another lake"):
                warehouse.refresh(str(made / "bucket"), address)
            with pytest.raises(LakeError):
                maintain(address)
        assert warehouse.refresh(str(made / "bucket"), first).published.is_new is False


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_next_refresh_goes_on(made: Path, tmp_path: Path, chest: Chest) -> None:
    """A limit of the system on the size of files stands in for the end of the disk."""
    import resource

    bucket, lake = tmp_path / "bucket", tmp_path / "lake"
    shutil.copytree(made / "bucket", bucket)
    shutil.copytree(made / "lake", lake)
    new = bucket / "training/New/data/2020-05-01/data.json"
    new.parent.mkdir(parents=True)
    new.write_text('{"Age": "70"}')
    words = ("refresh", bucket, "--lake", lake, "-q", "--add-source")
    done = chest(*words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000)))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith("chest: ")
    assert chest(*words).returncode == 0
    assert "1" in chest("sql", "select count(*) from clinical where patient_id = 'New'", "--lake", lake).stdout


def test_damaged_files_are_one_line(made: Path, tmp_path: Path, here: Chest) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(made / "lake", lake)
    for path in lake.rglob("*.parquet"):
        path.write_bytes(b"x" * path.stat().st_size)
    for words in (("status",), ("check",), ("refresh", made / "bucket", "-q"), ("maintain", "-q")):
        done = here(*words, "--lake", lake)
        assert done.returncode == 2, (words, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("chest: ")


@pytest.mark.slow
def test_a_lake_has_one_secret_of_its_own_and_is_read_without_it(made: Path, tmp_path: Path) -> None:
    lake, key = tmp_path / "lake", tmp_path / "lake/data/lake.key"
    shutil.copytree(made / "lake", lake)
    assert key.stat().st_mode & 0o777 == 0o640
    before = key.read_text()
    (made / "bucket/training/P0/data/2020-03-01/other.json").write_text("{}")
    warehouse.refresh(str(made / "bucket"), str(lake))
    maintain(str(lake), keep_days=0)
    assert key.read_text() == before, "made once"
    warehouse.refresh(str(made / "bucket"), str(tmp_path / "other"))
    assert (tmp_path / "other/data/lake.key").read_text() != before
    found = []
    for text in (before, before, "", None):
        key.unlink(missing_ok=True)
        if text is not None:
            key.write_text(text)
        with warehouse.open(str(lake)) as wh:
            found.append(compute_keyed_digest(wh.con, wh.location, "sha256:0"))
    assert found[0] == found[1] == "hmac-sha256:" + hmac.new(bytes.fromhex(before), b"sha256:0", "sha256").hexdigest()
    assert found[2:] == [None, None], "an empty key keys nothing"
    warehouse.refresh(str(made / "bucket"), str(lake))
    assert len(key.read_text().strip()) == 64
