"""Somebody else's lake: opening and reading it runs no SQL of theirs that reads, writes or removes files."""

import contextlib
import itertools
import os
import re
import shutil
import socket
import sqlite3
import struct
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from conftest import Chest, start_lake, write_objects

import warehouse
from warehouse.engine import sql_files
from warehouse.engine.connections import open_connection
from warehouse.errors import LakeError, UsageError
from warehouse.lake import connection, store, stored_sql
from warehouse.lake.location import parse_address
from warehouse.lake.stored_sql import OF_DUCKDB
from warehouse.settings import Settings
from warehouse.version import __version__


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_objects(root / "bucket", {"training/P1/data/2020-03-01/data.json": '{"Age": "5"}'})
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Path:
    """A lake of somebody else, without the copy for readers, beside a file of whoever opens it."""
    shutil.copytree(made, tmp_path / "lake", ignore=shutil.ignore_patterns("catalog.read.sqlite"))
    (tmp_path / "mine.csv").write_text("precious\n1\n")
    return tmp_path / "lake"


def change(lake: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite")) as con, con:
        con.execute(statement, values)


def require_refusal(lake: Path, here: Chest) -> None:
    """Every command that reads or writes refuses, and the folder is as it was."""
    for words in (
        ["sql", "select count(*) from patients"],
        ["sql", "--untrusted", "select 1"],
        ["status"],
        ["check"],
        ["maintain"],
        ["refresh", lake.parent / "bucket"],
        ["doctor", "--repair"],
        ["access", "list"],
        ["backup", lake.parent / "backup"],
    ):
        (lake.parent / "bucket").mkdir(exist_ok=True)
        refused = here(*words, "--lake", lake)
        assert refused.returncode in (1, 2), words
        assert "is not opened" in " ".join((refused.stdout + refused.stderr).split()), words
    assert (lake.parent / "mine.csv").read_text() == "precious\n1\n"
    assert {path.name for path in lake.parent.iterdir()} <= {"lake", "mine.csv", "bucket", "backup"}
    with pytest.raises(LakeError, match="is not opened"):
        warehouse.open(str(lake))


REMOVE = "insert into ducklake_files_scheduled_for_deletion values (1, ?, 0, '2020-01-01 00:00:00+00')"


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["main", "ops"])
def test_a_view_that_removes_files_is_not_run_by_reading(schema: str, lake: Path, here: Chest) -> None:
    """DuckLake's own clean-up removes the file before it finds that the lake is attached to be read."""
    change(lake, REMOVE, str(lake.parent / "mine.csv"))
    text = "select 'x' as patient_id, path from ducklake_cleanup_old_files('lake', cleanup_all => true)"
    change(
        lake,
        "update ducklake_view set sql = ?, schema_id = (select schema_id from ducklake_schema where schema_name = ?) "
        "where view_name = 'patients'",
        text,
        schema,
    )
    require_refusal(lake, here)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "select 'x' as patient_id from enable_logging(storage := 'file', storage_path := '{mine}.d')",
        "select 'x' as patient_id, content from read_text('{mine}')",
        "select 'x' as patient_id, (select content from system.main.read_text('{mine}')) as content",
        "from '{mine}'",
        'select * from "{mine}"',
        "select 'x' as patient_id, * from query('from read_text(''{mine}'')')",
        "with a as (select 1), b as materialized (select * from read_csv('{mine}')) select * from a, b",
        "select 1 where exists (select 1 from range(3) union all from read_csv('{mine}'))",
        "select * from (summarize '{mine}')",
        "from system.information_schema.tables",
        "this is no SQL",
        "select current_setting('s3_secret_access_key') as patient_id",
        "select 'x' as patient_id, row_number() over (order by getenv('HOME')) as n",
        "select list_transform([1], lambda x: current_setting('s3_secret_access_key')) as patient_id",
        "select * from core.clinical at (version => 2)",
        "select 'x' as patient_id, setting from pg_settings where name = 's3_secret_access_key'",
        "select 'x' as patient_id, (select max(setting) from Main.PG_Settings) as setting",
        "with pg_settings as (select 1) select * from pg_settings",
        "select 'x' as patient_id, path from duckdb_databases",
    ],
)
def test_a_view_of_more_than_the_lake_is_not_run(text: str, lake: Path, here: Chest) -> None:
    change(
        lake,
        "update ducklake_view set sql = ? where view_name = 'patients'",
        text.format(mine=lake.parent / "mine.csv"),
    )
    require_refusal(lake, here)


@pytest.mark.parametrize(
    "text",
    [
        "chr(0)",
        "('[\"\\u0000\"]' ->> 0)",
        "json_extract_string('\"\\u0000\"', '$')",
        "cast(cast('[\"\\u0000\"]' as json) as varchar[])[1]",
        '(try_cast(\'{"a": "\\u0000"}\' as json).a)',
        "from_json('\"\\u0000\"', '\"VARCHAR\"')",
        "url_decode('%00')",
        "printf('%c', 0)",
        "decode(unhex('00'))",
        "'\0'",
    ],
)
def test_a_view_makes_no_zero_byte(text: str, lake: Path) -> None:
    """DuckLake ends there what it writes of a text that a column is compared with, and would run the next as SQL."""
    change(
        lake,
        "update ducklake_view set sql = ? where view_name = 'patients'",
        f"select 'x' as patient_id, key from raw.objects where source = 'a' || {text} and key = 'b' || {text}",
    )
    with pytest.raises(LakeError, match=r"is not opened: (its view patients (calls|casts)|it has a view .* zero byte)"):
        warehouse.open(str(lake))


@pytest.mark.slow
def test_functions_of_views_make_no_zero_byte() -> None:
    """Tried with texts and bytes that escape one in any way."""
    texts = [r"\u0000", r'"\u0000"', r'["\u0000"]', "%00", "%c", "{:c}", "00"]
    values = [*map(sql_files.literal, texts), r"'\x00'::blob", "0"]
    names = stored_sql._list_functions()
    assert "concat" in names
    with contextlib.closing(open_connection()) as con:
        for name in sorted(names - {"error"}):
            for given in (*itertools.product(values), *itertools.product(values, ["'$'", "0"])):
                call = f"{sql_files.identifier(name)}({', '.join(given)})"
                with contextlib.suppress(duckdb.Error):
                    assert not has_nul(con.execute(f"select {call}").fetchall()), call


def has_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(has_nul, (*value, *value.values())))
    return any(map(has_nul, value)) if isinstance(value, list | tuple) else isinstance(value, str) and "\0" in value


@pytest.mark.parametrize("is_turned", [False, True])
def test_rows_with_zero_bytes_are_not_run_by_a_join(is_turned: bool, lake: Path, here: Chest) -> None:
    """Those of somebody else's files may have some, and a join would look for them in a statement of DuckLake's own."""
    sql = f" is null)))); copy (select 1) to $${lake.parent}/theirs.csv$$; select ((((1\0b"
    values = [sql, "a\0b"] if is_turned else ["a\0b", sql]
    with store.open_writer(parse_address(lake), Settings()) as con:
        more = "insert into raw.objects by name select * replace ($1 as source, $2 as key) from raw.objects"
        con.execute(more, values)
    rows = "(select source, max(key) as key from lake.raw.objects group by all) as few"
    for names in ("source, key", "key, source"):
        found = here("sql", f"select count(*) as n from lake.raw.objects join {rows} using ({names})", "--lake", lake)
        assert found.returncode == 0, found.stderr
    assert not (lake.parent / "theirs.csv").exists()


def test_the_names_of_duckdbs_own_relations_are_known() -> None:
    """Those that a query reads by their names alone."""
    named = "select view_name from duckdb_views() where internal and schema_name in ('main', 'pg_catalog')"
    tables = "select table_name from duckdb_tables() where internal"
    with contextlib.closing(open_connection()) as con:
        names = [name for (name,) in con.execute(f"{named} union {tables}").fetchall()]
    assert "pg_settings" in names
    assert [name for name in names if not re.match(OF_DUCKDB, name)] == []


def test_a_view_reads_no_variable_of_the_program(lake: Path) -> None:
    """DuckDB's package for Python would take a table of this name from whoever runs the query."""
    change(lake, "update ducklake_view set sql = 'select ''x'' as patient_id, * from own' where view_name = 'clinical'")
    own = pa.table({"secret": [1]})
    with warehouse.open(str(lake)) as wh:
        with pytest.raises(UsageError, match="own does not exist"):
            wh.sql("from clinical")
        with pytest.raises(duckdb.Error, match="own does not exist"):
            wh.con.sql("from clinical")
    assert own.num_rows == 1


@pytest.mark.slow
def test_a_macro_does_not_take_the_place_of_a_function(lake: Path, here: Chest) -> None:
    with store.open_writer(parse_address(lake), Settings()) as con:
        con.execute("create macro lake.main.lower(text) as 'theirs'")
    (lake / "catalog.read.sqlite").unlink(missing_ok=True)
    require_refusal(lake, here)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    "statement",
    [
        "insert into ducklake_sort_expression values (1, 1, 0, '(from read_text(''x''))', 'duckdb', 'ASC', null)",
        "update ducklake_column set default_value = 'lower(''X'')', default_value_type = 'expression' where rowid = 1",
    ],
)
def test_expressions_that_sort_or_fill_in_are_not_run(statement: str, lake: Path, here: Chest) -> None:
    change(lake, statement)
    require_refusal(lake, here)


@pytest.mark.slow
def test_views_of_snapshots_that_nobody_sees_are_not_run(lake: Path, here: Chest) -> None:
    """The list of withdrawn patients is read as of the newest snapshot, whichever is published."""
    change(
        lake,
        "insert into ducklake_snapshot select max(snapshot_id) + 1, max(snapshot_time), 99, 9999, 9999 "
        "from ducklake_snapshot",
    )
    newest = "(select max(snapshot_id) from ducklake_snapshot)"
    change(
        lake,
        f"insert into ducklake_snapshot_changes values ({newest}, '', 'x', 'x', '{{\"tool\": \"{__version__}\"}}')",
    )
    change(lake, f"update ducklake_table set end_snapshot = {newest} where table_name = 'withdrawals'")
    change(
        lake,
        f"insert into ducklake_view select 2000, view_uuid, {newest}, null, "
        "(select schema_id from ducklake_schema where schema_name = 'access'), 'withdrawals', 'duckdb', ?, '' "
        "from ducklake_view limit 1",
        f"select 'x' as digest from enable_logging(storage := 'file', storage_path := '{lake.parent}/theirs.d')",
    )
    require_refusal(lake, here)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    "statement",
    [
        "update ducklake_column set column_type = 'geometry' where rowid = 1",
        "update ducklake_column set default_value_dialect = 'x''; copy' where rowid = 1",
        "update ducklake_table set table_uuid = 'x''); copy' where rowid = 1",
        "update ducklake_schema set schema_uuid = null where rowid = 1",
        "update ducklake_view set view_uuid = 'x' where rowid = 1",
        "update ducklake_view set column_aliases = '\"a\"' where rowid = 1",
        "update ducklake_table_column_stats set extra_stats = '{\"types\": [\"x''\"]}' where rowid = 1",
        "create index theirs on ducklake_view(view_name, sql)",
        "create unique index theirs on ducklake_data_file(path)",
        "create table theirs (a unique)",
        "create table theirs (a varchar check (a <> 'x'))",
        "create table theirs (a varchar, b varchar generated always as ('x'))",
        "create table theirs (a varchar default (random()))",
        "create table theirs (a varchar primary key)",
        "create table theirs (a varchar collate nocase)",
    ],
)
def test_what_ducklake_would_take_for_sql_is_refused(statement: str, lake: Path, here: Chest) -> None:
    """DuckLake writes some of these texts into its statements as they are; an index may disagree with its table."""
    change(lake, statement)
    require_refusal(lake, here)


#: DuckDB reads a table of SQLite by slices of so many rows, and loses the last where they end with it.
SLICE = 122_880


def test_a_view_where_duckdb_does_not_see_it_is_found(lake: Path, here: Chest) -> None:
    change(lake, "alter table ducklake_view rename to theirs")
    text = f"enable_logging(storage = 'file', storage_path = '{lake.parent}/theirs.d')"
    change(lake, f"create view ducklake_view as select theirs.* from theirs, {text}")
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite", isolation_level=None)) as con:
        con.execute("pragma writable_schema = on")
        con.execute("update sqlite_master set rowid = ? where type = 'view'", (SLICE,))
    require_refusal(lake, here)


def test_a_row_where_duckdb_does_not_see_it_is_found(lake: Path, here: Chest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would appear as soon as maintenance adds rows, which removes the file."""
    monkeypatch.setenv("CHEST_THREADS", "4")
    table = "ducklake_files_scheduled_for_deletion"
    change(lake, f"insert into {table} values (1, 'a.parquet', 1, '2090-01-01 00:00:00+00')")
    change(
        lake,
        f"insert into {table}(rowid, data_file_id, path, path_is_relative, schedule_start) "
        "values (?, 2, ?, 0, '2020-01-01 00:00:00+00')",
        SLICE,
        str(lake.parent / "mine.csv"),
    )
    for words in (["maintain", "--keep-days", "0"], ["sql", "from patients"]):
        refused = here(*words, "--lake", lake)
        assert (refused.returncode, "outside its data path" in refused.stderr) == (2, True)
    assert (lake.parent / "mine.csv").exists()


def test_a_sound_catalogue_is_read_whole_by_several_threads(
    lake: Path, here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHEST_THREADS", "4")
    with warehouse.open(str(lake)) as wh:
        expected = wh.sql("select count(*) from clinical").fetchall()
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite")) as con, con:
        (row,) = con.execute(
            "select max(rowid) from ducklake_data_file where end_snapshot is null and table_id = "
            "(select table_id from ducklake_table where table_name = 'clinical')"
        ).fetchone()
        con.execute("update ducklake_data_file set rowid = ? where rowid = ?", (SLICE, row))
    with warehouse.open(str(lake)) as wh:
        assert wh.sql("select count(*) from clinical").fetchall() == expected


@pytest.mark.parametrize("odd", ["a link", "a pipe"])
def test_a_data_file_that_is_no_file_is_not_read(odd: str, lake: Path, here: Chest) -> None:
    path = next((lake / "data").rglob("clinical/**/*.parquet"))
    path.rename(lake.parent / "theirs.parquet")
    if odd == "a link":
        path.symlink_to(lake.parent / "theirs.parquet")
    else:
        os.mkfifo(path)
    for words in (["sql", "from clinical"], ["export", "-o", lake.parent / "out"], ["status"]):
        refused = here(*words, "--lake", lake)
        assert (refused.returncode, "outside its data path" in refused.stderr) == (2, True), words


@pytest.mark.parametrize("path", ["http://{address}/x.parquet", "s3://x/y?s3_endpoint={address}&s3_use_ssl=false"])
def test_reading_a_lake_sends_no_request_to_an_address_in_it(
    path: str, lake: Path, here: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        change(lake, "update ducklake_data_file set path = ?, path_is_relative = 0", path.format(address=address))
        for words in (
            ["sql", "from patients"],
            ["status"],
            ["check"],
            ["sql", "--untrusted", "from patients"],
            ["doctor"],
        ):
            refused = here(*words, "--lake", lake)
            assert refused.returncode in (1, 2), words
            assert "outside its data path" in " ".join((refused.stdout + refused.stderr).split()), words
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "path", ["a*.parquet", "a.parquet?s3_endpoint=x", "../a.parquet", "[a].parquet", "a b.parquet", "é.parquet"]
)
def test_paths_of_files_are_those_that_ducklake_writes(path: str, lake: Path, here: Chest) -> None:
    change(lake, "update ducklake_data_file set path = ?", path)
    refused = here("sql", "from patients", "--lake", lake)
    assert (refused.returncode, "outside its data path" in refused.stderr) == (2, True)


def test_not_even_a_query_of_ones_own_sends_a_request(lake: Path, here: Chest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        refused = here("sql", f"from read_text('{address}')", "--lake", lake)
        assert refused.returncode == 2
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_sql_in_the_name_of_a_table_of_inlined_rows_is_not_run(lake: Path, here: Chest) -> None:
    """DuckLake puts that name into its query: this one writes a file as soon as the table is read."""
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite")) as con, con:
        (table,) = con.execute("select table_id from ducklake_table where table_name = 'clinical'").fetchone()
        named = con.execute("select distinct column_name from ducklake_column where table_id = ?", (table,)).fetchall()
        columns = ", ".join(f'"{name}" varchar' for (name,) in named)
        con.execute(f"create table theirs (row_id bigint, begin_snapshot bigint, end_snapshot bigint, {columns})")
        text = (
            f"theirs; copy (select 'theirs') to '{lake.parent}/theirs.csv'; "
            "select * from (select 1 as row_id, 1 as begin_snapshot, 1 as end_snapshot)"
        )
        con.execute("insert into ducklake_inlined_data_tables values (?, ?, 1)", (table, text))
    require_refusal(lake, here)


def retype(lake: Path, table: str, column: str, kind: str = "VARCHAR") -> None:
    """Make a column of the catalogue one of another type, with the same rows."""
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite")) as con, con:
        (text,) = con.execute("select sql from sqlite_master where name = ?", (table,)).fetchone()
        con.execute(f"alter table {table} rename to theirs")
        con.execute(re.sub(rf"\b{column} BIGINT( PRIMARY KEY)?", f"{column} {kind}", text))
        con.execute(f"insert into {table} select * from theirs")
        con.execute("drop table theirs")


@pytest.mark.slow
def test_sql_in_the_place_of_a_number_is_not_run_by_a_purge(tmp_path: Path, here: Chest) -> None:
    """A purge puts the number of a file's first row into its statement; that of a file of an older snapshot, which
    nobody reads otherwise. This text ends the statement, and writes a file by another."""
    for age in ("5", "6"):
        for patient in ("Patient1", "Patient2"):
            write_objects(tmp_path / "bucket", {f"training/{patient}/data/2020-03-01/data.json": f'{{"Age": "{age}"}}'})
        warehouse.refresh(str(tmp_path / "bucket"), str(tmp_path / "lake"))
    lake = tmp_path / "lake"
    retype(lake, "ducklake_data_file", "row_id_start")
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite")) as con, con:
        of_records = "select table_id from ducklake_table where table_name = 'records'"
        named = con.execute(f"select column_name from ducklake_column where table_id = ({of_records})").fetchall()
        values = ", ".join(f"'theirs' as \"{name}\"" for (name,) in named)
        text = f"0 as n from (select {values})) to '{tmp_path}/theirs.csv'; copy (select 0"
        where = f"end_snapshot is not null and table_id = ({of_records})"
        assert con.execute(f"update ducklake_data_file set row_id_start = ? where {where}", (text,)).rowcount == 1
    (lake / "catalog.read.sqlite").unlink()
    refused = here("withdraw", "Patient1", "--reason", "letter", "--purge", "--lake", lake)
    assert (refused.returncode, "is not opened" in refused.stderr) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"bucket", "lake"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["VARCHAR", "UUID", "BLOB"])
def test_every_number_of_a_catalogue_is_one(kind: str, lake: Path, here: Chest) -> None:
    with contextlib.closing(sqlite3.connect(lake / "catalog.sqlite")) as con:
        texts = con.execute("select name, sql from sqlite_master where sql is not null").fetchall()
    numbers = [(name, column) for name, text in texts for column in re.findall(r"(\w+) BIGINT", text)]
    assert ("ducklake_data_file", "row_id_start") in numbers
    assert len(numbers) > 100
    for table, column in numbers if kind == "VARCHAR" else numbers[::20]:
        there = lake / "catalog.sqlite"
        kept = there.read_bytes()
        retype(lake, table, column, kind)
        with pytest.raises(LakeError, match="is not opened: its catalogue has more than plain tables"):
            store.open_reader(parse_address(str(lake)), Settings())
        there.write_bytes(kept)
    retype(lake, *numbers[-1], kind)
    require_refusal(lake, here)


@pytest.mark.slow(after=2)
@pytest.mark.parametrize("table", ["ducklake_metadata", "ducklake_snapshot", "ducklake_view", "ducklake_macro"])
def test_a_view_of_sqlite_in_the_place_of_a_table_is_not_run(table: str, lake: Path, here: Chest) -> None:
    """DuckDB runs the text of a view in a SQLite file as its own; DuckLake reads such tables as soon as it is attached.

    This one has DuckDB write a log to a folder."""
    change(lake, f"alter table {table} rename to theirs")
    text = f"enable_logging(storage = 'file', storage_path = '{lake.parent}/theirs.d')"
    change(lake, f"create view {table} as select theirs.* from theirs, {text}")
    require_refusal(lake, here)


@pytest.mark.parametrize(
    "statement",
    [
        "create trigger theirs after insert on ducklake_snapshot begin delete from ducklake_data_file; end",
        "create virtual table theirs using fts5(words)",
        "create view theirs as select 1",
    ],
)
def test_a_catalogue_has_nothing_but_tables(statement: str, lake: Path, here: Chest) -> None:
    change(lake, statement)
    require_refusal(lake, here)


@pytest.mark.slow
def test_a_view_of_sqlite_in_the_copy_for_readers_is_not_run(made: Path, lake: Path, here: Chest) -> None:
    change(lake, "create view theirs as select 1")
    (lake / "catalog.sqlite").rename(lake / "catalog.read.sqlite")
    shutil.copy2(made / "catalog.sqlite", lake)
    now = (lake / "catalog.sqlite").stat()
    os.utime(lake / "catalog.read.sqlite", ns=(now.st_atime_ns, now.st_mtime_ns))
    assert here("status", "--lake", lake).returncode == 0  # by the catalogue itself


def name_in_journal(catalogue: Path, name: bytes) -> None:
    """Write the journal of a writer that died within a commit to several databases, with the name of their journal."""
    size, pages = 4096, catalogue.stat().st_size // 4096
    magic = bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">5I", 0, 1, pages, 512, size)
    tail = struct.pack(">I", 0x40000000 // size + 1) + name + struct.pack(">2I", len(name), sum(name)) + magic
    Path(f"{catalogue}-journal").write_bytes(head.ljust(512, b"\0") + tail)


def test_a_journal_does_not_have_sqlite_remove_another_file(lake: Path, here: Chest) -> None:
    name_in_journal(lake / "catalog.sqlite", str(lake.parent / "mine.csv").encode())
    require_refusal(lake, here)


def test_a_journal_beside_what_the_catalogue_links_to_does_not_either(lake: Path, here: Chest) -> None:
    (lake / "below").mkdir()
    (lake / "catalog.sqlite").rename(lake / "below/real.sqlite")
    (lake / "catalog.sqlite").symlink_to("below/real.sqlite")
    name_in_journal(lake / "below/real.sqlite", str(lake.parent / "mine.csv").encode())
    require_refusal(lake, here)


def test_the_journal_of_the_copy_for_readers_does_not_either(made: Path, lake: Path, here: Chest) -> None:
    shutil.copy2(made / "catalog.read.sqlite", lake)
    name_in_journal(lake / "catalog.read.sqlite", str(lake.parent / "mine.csv").encode())
    refused = here("status", "--lake", lake)
    assert (refused.returncode, "is not opened" in refused.stderr) == (2, True)
    assert (lake.parent / "mine.csv").exists()


def test_sqlite_itself_removes_what_such_a_journal_names(lake: Path) -> None:
    """So the journal of these tests is one that SQLite believes."""
    name_in_journal(lake / "catalog.sqlite", str(lake.parent / "mine.csv").encode())
    change(lake, "delete from ducklake_metadata where false")
    assert not (lake.parent / "mine.csv").exists()


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_a_journal_that_is_a_link_is_not_written_to(ending: str, lake: Path, here: Chest) -> None:
    (lake / f"catalog.sqlite{ending}").symlink_to(lake.parent / "theirs")
    require_refusal(lake, here)


def test_views_of_one_s_own_that_compute_are_read(lake: Path, here: Chest) -> None:
    with store.open_writer(parse_address(lake), Settings()) as con:
        con.execute(
            "create view lake.main.mine as select 'from read_text(x), \"TABLE_FUNCTION\"' as words, unnest([1]) as a, "
            "b from lake.core.clinical, range(2) as r(b)"
        )
    assert here("sql", "select count(*) from clinical", "--lake", lake).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "info",
    [
        '{"published": true, "a": ' + "[" * 100_000,
        '{"published": true, "a": ' + "[" * 200 + "]" * 200 + "}",
        '{"published": true, "withdrawals": 1e400}',
        '{"published": true, "withheld": "x"}',
        '{"upkeep": [1]}',
        '{"blocked": 5}',
        '{"blocked": [{}]}',
        "[]",
    ],
)
def test_the_info_of_a_commit_that_is_not_ours_is_none(info: str, lake: Path, here: Chest) -> None:
    newest = warehouse.open(str(lake)).snapshot.number
    change(lake, "update ducklake_snapshot_changes set commit_extra_info = ? where snapshot_id = ?", info, newest)
    for words in (["sql", "select 1"], ["status"], ["maintain"], ["doctor"], ["access", "list"]):
        done = here(*words, "--lake", lake)
        assert (done.returncode in (0, 2), "Traceback" in done.stderr) == (True, False), (words, done.stderr)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("mark", ["[" * 3_000, '{"lake": "x", "snapshot": 1e400}', '{"lake": 1, "snapshot": [1]}'])
def test_a_mark_of_any_text_is_one_line(mark: str, lake: Path, here: Chest) -> None:
    (lake / "data/lake.json").write_text(mark)
    (lake.parent / "bucket").mkdir()
    for words in (["refresh", lake.parent / "bucket"], ["maintain"], ["doctor"], ["doctor", "--repair"]):
        done = here(*words, "--lake", lake)
        assert (done.returncode in (1, 2), "Traceback" in done.stderr) == (True, False), (words, done.stderr)
        assert "does not state which lake its files belong to" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.slow
@pytest.mark.parametrize("depth", [500, 5_000])
def test_json_in_the_rows_of_a_lake_is_one_line(depth: int, lake: Path, here: Chest) -> None:
    text = "[" * depth + "]" * depth
    with contextlib.closing(connection.connect(Settings(), parse_address(str(lake)))) as con:
        connection.attach(con, parse_address(str(lake)))
        con.execute("insert into ops.manifests (digest, parameters, created_at) values ('d', ?, now())", [text])
        con.execute(
            "insert into access.events by name select 1 as number, now() as at, 'x' as event, ? as body, '' as hash, "
            "'' as previous_hash, '' as about, '' as actor, '' as role",
            [text],
        )
    for words in (["manifest", "list"], ["access", "list"], ["access", "verify"], ["sql", "select 1"], ["status"]):
        done = here(*words, "--lake", lake)
        assert (done.returncode in (0, 1, 2), "Traceback" in done.stderr) == (True, False), (words, done.stderr)
