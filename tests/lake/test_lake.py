"""The lake as storage: versions, one writer, what is no lake, comments, settings, columns added later."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from conftest import Chest, write_objects

import warehouse
from warehouse.catalog import columns
from warehouse.errors import LakeBusyError, LakeError
from warehouse.lake import location, migrations, store
from warehouse.settings import Settings

ROOT = Path(warehouse.__file__).parent.parent
IMAGE = "training/Covid1/images_metadata/{day}/{image}.json"
RECORD = '{"Pseudonym": "Covid1", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}'


def header(image: str, **more: object) -> str:
    values = {"00080018": image, "00100020": "Covid1", "00080060": "CR", **more}
    return json.dumps({tag: {"vr": "LO", "Value": [value]} for tag, value in values.items()})


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bucket")
    days = ("2019-12-31", "2020-03-01", "2021-06-01")
    headers = {IMAGE.format(day=day, image=f"1.{n}"): header(f"1.{n}") for n, day in enumerate(days)}
    write_objects(root, {**headers, "training/Covid1/data/2020-03-01/data.json": RECORD})
    return root


@pytest.fixture(scope="module")
def filled(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake") / "lake"
    warehouse.refresh(str(bucket), str(folder))
    return folder


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A lake with its tables and nothing published."""
    folder = tmp_path / "fresh"
    with store.open_writer(location.parse_address(str(folder)), Settings()):
        pass
    return folder


@pytest.mark.slow
def test_no_unsigned_extension_is_loaded_once_a_lake_is_open(filled: Path, tmp_path: Path) -> None:
    """Those of our packages are, to spare their hashing; nobody can have one loaded after them."""
    place = location.parse_address(str(filled))
    stray = tmp_path / "stray.duckdb_extension"
    stray.write_bytes(bytes(4096))
    reading, _ = store.open_reader(place, Settings())
    with reading, store.open_writer(place, Settings()) as writing:
        for con in (reading, writing):
            assert con.execute("select current_setting('allow_unsigned_extensions')").fetchall() == [(False,)]
            with pytest.raises(duckdb.Error, match="Cannot change allow_unsigned_extensions"):
                con.execute("set allow_unsigned_extensions = true")
            with pytest.raises(duckdb.Error):
                con.execute(f"load '{stray}'")


def refused(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("chest: ")
    for word in words:
        assert word in done.stderr


def test_a_lake_of_a_newer_version_is_refused(fresh: Path, bucket: Path, here: Chest) -> None:
    place = location.parse_address(str(fresh))
    newer = migrations.list_migrations()[-1][0] + 1
    with store.open_writer(place, Settings()) as con:
        con.execute(f"insert into ops.migrations values ({newer}, 'later', now(), '9.9.9')")
    refused(here("status", "--lake", fresh), "newer version", f"schema {newer}", "9.9.9")
    refused(here("refresh", bucket, "--lake", fresh, "-q"), "newer version", "Install")
    with pytest.raises(LakeError, match="newer version"), store.open_writer(place, Settings()):
        pass


@pytest.mark.slow
def test_opening_again_changes_nothing(fresh: Path) -> None:
    with store.open_writer(location.parse_address(str(fresh)), Settings()) as con:
        before = store.list_snapshots(con)
    with store.open_writer(location.parse_address(str(fresh)), Settings()) as con:
        assert store.list_snapshots(con) == before
        assert migrations.read_version(con) == migrations.list_migrations()[-1][0]


def test_nothing_is_shown_before_it_is_published(fresh: Path, here: Chest) -> None:
    refused(here("status", "--lake", fresh), "no published snapshot yet", "chest refresh")


def test_one_writer_at_a_time(filled: Path, bucket: Path, chest: Chest) -> None:
    place = location.parse_address(str(filled))
    with store.open_writer(place, Settings()):
        refused(chest("refresh", bucket, "--lake", filled, "-q"), "Another refresh")
        with pytest.raises(LakeBusyError), store.open_writer(place, Settings()):
            pass
        with warehouse.open(str(filled)) as wh:
            assert len(wh.images().fetchall()) == 3
    with store.open_writer(place, Settings()):
        pass


def test_what_is_not_a_lake_is_refused(tmp_path: Path, bucket: Path, here: Chest) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    refused(here("status", "--lake", tmp_path / "folder"), "There is no lake")
    write_objects(tmp_path, {"corrupt/catalog.sqlite": b"this is no database at all" * 100})
    for words in (["status"], ["refresh", bucket, "-q"]):
        refused(here(*words, "--lake", tmp_path / "corrupt"), str(tmp_path / "corrupt"))
    (tmp_path / "other").mkdir()
    with sqlite3.connect(tmp_path / "other" / "catalog.sqlite") as con:
        con.execute("create table notes (text)")
    con.close()
    refused(here("status", "--lake", tmp_path / "other"), str(tmp_path / "other"))
    refused(here("refresh", bucket, "--lake", bucket / "training/Covid1/data/2020-03-01/data.json"), "data.json")
    refused(here("status", "--lake", "s3://bucket/lake"), "postgres://")
    refused(here("refresh", bucket, "--lake", ""), "CHEST_LAKE")


@pytest.mark.slow
def test_files_with_names_of_tables_do_not_matter(
    tmp_path: Path, bucket: Path, here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB looks for a file where it finds no table, and the working directory may be a bucket's."""
    for name in ("lake.ops.migrations", "lake.ops.files", "lake.main.patients"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert here("refresh", bucket, "--lake", tmp_path / "lake", "--quiet").returncode == 0


def test_an_odd_path_is_a_lake_as_well(tmp_path: Path, bucket: Path) -> None:
    folder = tmp_path / "O'Brien's ünï lake 50%"
    warehouse.refresh(str(bucket), str(folder))
    with warehouse.open(str(folder)) as wh:
        assert len(wh.images().fetchall()) == 3
    assert list((folder / "data").rglob("*.parquet"))


def test_views_tables_and_columns_have_comments(filled: Path) -> None:
    with warehouse.open(str(filled)) as wh:
        found = dict(
            wh.con.execute(
                "select view_name, comment from duckdb_views() where database_name = 'lake' and schema_name = 'main'"
            ).fetchall()
        )
        for view in columns.list_views():
            assert found[view.name].startswith(view.meaning)
        rows = wh.con.execute(
            "select schema_name || '.' || table_name, column_name, comment from duckdb_columns() "
            "where database_name = 'lake' and not internal"
        ).fetchall()
    comments = {(table, column): comment for table, column, comment in rows}
    for table in columns.list_tables():
        for column in table.columns:
            assert comments[table.name, column.name].startswith(column.meaning)


def test_settings_are_in_force(filled: Path) -> None:
    with warehouse.open(str(filled)) as wh:
        rows = wh.con.execute("select option_name, value, scope_entry from ducklake_options('lake')").fetchall()
        years = wh.sql("select distinct year(available_date) from images").fetchall()
    options = {(name, scope): value for name, value, scope in rows}
    assert options["parquet_compression", None] == "zstd"
    assert options["data_inlining_row_limit", None] == "0"
    assert options["parquet_row_group_size", "raw.headers"] == "2048"
    folders = {path.name for path in (filled / "data/core/images").iterdir()}
    assert folders == {f"year={year}" for (year,) in years} == {"year=2019", "year=2020", "year=2021"}
    (parquet,) = (filled / "data/core/images/year=2020").glob("*.parquet")
    found = duckdb.execute("select distinct compression from parquet_metadata(?)", [str(parquet)]).fetchall()
    assert found == [("ZSTD",)]


def test_a_failed_transaction_leaves_no_trace_and_a_usable_connection(fresh: Path) -> None:
    with store.open_writer(location.parse_address(str(fresh)), Settings()) as con:
        before = store.list_snapshots(con)

        def work() -> None:
            con.execute("insert into ops.refreshes (refresh_id) values ('half')")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.transact(con, "half", work)
        assert store.list_snapshots(con) == before
        assert store.transact(con, "whole", lambda: 7, counted=3) == 7
        con.execute("create table lake.main.scratch (one int)")
        assert store.list_snapshots(con)[-1].number > before[-1].number


def test_commits_carry_their_refresh(filled: Path) -> None:
    with warehouse.open(str(filled)) as wh:
        last = wh.snapshot
    assert last.is_published
    assert last.message.endswith("published")
    assert last.info["refresh"] in last.message


@pytest.mark.slow
def test_a_column_added_by_one_line_is_filled_without_the_bucket(tmp_path: Path) -> None:
    key = IMAGE.format(day="2020-03-01", image="1.1")
    bucket, folder, house = tmp_path / "bucket", tmp_path / "lake", tmp_path / "house"
    write_objects(bucket, {key: header("1.1", **{"00104000": "lungs clear"})})
    warehouse.refresh(str(bucket), str(folder))

    for part in ("warehouse", "sql"):
        shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    with (house / "sql/columns/images.csv").open("a") as table:
        table.write("PatientComments,VARCHAR,,00104000,description,Comments on the patient.\n")
    # Same size and time: the same object to a listing, but only the lake still has its former content.
    stat = (bucket / key).stat()
    (bucket / key).write_bytes(b"x" * stat.st_size)
    os.utime(bucket / key, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def run(*words: object) -> str:
        code = f"import sys; sys.path.insert(0, {str(house)!r}); from warehouse.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=house)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ask = ("sql", "select PatientComments, Modality from images", "--lake", folder, "--format", "json")
    run("refresh", bucket, "--lake", folder, "-q")
    assert json.loads(run(*ask)) == [{"PatientComments": "lungs clear", "Modality": "CR"}]
    run("refresh", bucket, "--lake", folder, "-q", "--reextract")
    assert json.loads(run(*ask)) == [{"PatientComments": "lungs clear", "Modality": "CR"}]
    assert json.loads(run("rejects", "--lake", folder, "--format", "json")) == []
