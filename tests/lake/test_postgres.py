"""A lake with its catalogue in a real PostgreSQL: same answers, one writer, no password in any message."""

import contextlib
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import Chest, write_objects
from servers import Postgres, serve_moto, serve_postgres

import warehouse
from warehouse.errors import LakeBusyError, LakeError, UntrustedSqlError, UsageError
from warehouse.lake import location, store, view_changes
from warehouse.lake.maintenance import maintain
from warehouse.query.status import measure_status
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket
from warehouse.withdrawal import changing
from warehouse.withdrawal.purge import purge

COUNTS = (
    "objects",
    "image_json",
    "clinical_json",
    "dcm",
    "patients",
    "studies",
    "series",
    "modality",
    "tables",
)

#: A function of somebody else's, which fails where it is called.
THEIRS = (
    "create function theirs() returns boolean immutable language plpgsql as 'begin raise ''it ran''; return true; end'"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with serve_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bucket") / "small"
    make_bucket(root, 4)
    return root


@pytest.fixture(scope="module")
def filled(server: Postgres, bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a lake that was refreshed once."""
    server.run("create database chest")
    address = server.address("chest", tmp_path_factory.mktemp("data"))
    warehouse.refresh(str(bucket), address)
    return address


def answers(address: str) -> dict[str, Any]:
    """The status of a lake, and the data of every patient."""
    with warehouse.open(address) as wh:
        day = wh.as_of("2020-12-31")
        found = {name: measure_status(wh)[name] for name in COUNTS}
        return {
            **found,
            "as_of": measure_status(day)["as_of"],
            "rows": day.sql("from patients order by all").fetchall(),
        }


def test_answers_are_those_of_a_sqlite_lake(filled: str, bucket: Path, tmp_path: Path) -> None:
    warehouse.refresh(str(bucket), str(tmp_path / "lake"))
    expected = answers(str(tmp_path / "lake"))
    assert expected["as_of"]["2020-12-31"]["images"] > 0
    assert answers(filled) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "statements",
    [
        (
            "alter table ducklake_view rename to theirs",
            "create view ducklake_view as select * from theirs where current_query() like '%view_uuid%'",
        ),
        ("create rule theirs as on insert to ducklake_snapshot do also delete from ducklake_data_file",),
        ("alter table ducklake_view enable row level security",),
        ("create view ducklake_theirs as select 1",),
        (
            "alter table ducklake_snapshot rename to theirs",
            f"{THEIRS}; create view ducklake_snapshot as select * from theirs where theirs()",
        ),
        # DuckDB takes a table in other letters for DuckLake's own.
        (
            "alter table ducklake_tag rename to theirs",
            f'{THEIRS}; create view "Ducklake_Tag" as select * from theirs where theirs()',
        ),
        (f"{THEIRS}; alter table ducklake_snapshot add constraint theirs check (theirs()) not valid",),
        (f"{THEIRS}; alter table ducklake_snapshot_changes alter column author set default cast(theirs() as text)",),
        ("create index theirs on ducklake_snapshot ((snapshot_id + 1))",),
        (
            "create function theirs_too() returns trigger language plpgsql as 'begin raise ''it ran''; end'",
            "create trigger theirs before insert on ducklake_snapshot for each row execute function theirs_too()",
        ),
        ("create table theirs () inherits (ducklake_tag)",),
        ("create domain theirs as text", "alter table ducklake_tag alter column key type theirs"),
        # A purge puts this number into its statement.
        ("alter table ducklake_data_file alter column row_id_start type text",),
    ],
)
def test_a_catalogue_that_may_answer_one_query_otherwise_than_another_is_not_read(
    statements: tuple[str, ...], server: Postgres, bucket: Path, tmp_path: Path
) -> None:
    """As a dump of somebody else's may, once it is restored, or their schema in the same database: what is checked
    must be what DuckLake reads, and nothing of theirs runs with the rights of the reader before."""
    name = f"theirs_{len(statements)}_{zlib.crc32(' '.join(statements).encode())}"
    server.run(f"create database {name}")
    address = server.address(name, tmp_path / "data")
    warehouse.refresh(str(bucket), address)
    for statement in statements:
        server.run(statement, database=name)
    refused = pytest.raises(
        LakeError, match=r"is not opened: [Dd]ucklake_.* is no plain table of its PostgreSQL database"
    )
    with refused:
        warehouse.open(address)
    with refused:
        warehouse.refresh(str(bucket), address)


def make_operators(kind: str, schema: str) -> list[str]:
    """Operators of somebody else's for a type of text, which fail where they are called."""
    body = "begin raise ''it ran as %'', current_user; return true; end"
    function = f"create function {schema}.theirs({kind}, {kind}) returns boolean language plpgsql as '{body}'"
    operators = [
        f"create operator {schema}.{sign} (leftarg = {kind}, rightarg = {kind}, function = {schema}.theirs)"
        for sign in ("=", "<>", "<", "~~")
    ]
    return [function, *operators]


@pytest.mark.slow
@pytest.mark.parametrize(
    "statements",
    [
        # They fit better than PostgreSQL's own, whose are for text.
        make_operators("varchar", "public"),
        # As the owner of a database may set it for whoever logs in.
        [
            "create schema theirs",
            *make_operators("text", "theirs"),
            f"{THEIRS.replace('theirs()', 'theirs.theirs()')}",
            "create view theirs.pg_class as select * from pg_catalog.pg_class where theirs.theirs()",
            "create function theirs.hashtext(text) returns int language plpgsql as 'begin raise ''it ran''; end'",
            "alter database {name} set search_path = theirs, pg_catalog, public",
            "alter database {name} set standard_conforming_strings = off",
        ],
    ],
    ids=["operators", "search_path"],
)
def test_nothing_that_somebody_else_put_into_the_database_runs_with_ones_rights(
    statements: list[str], server: Postgres, bucket: Path, tmp_path: Path
) -> None:
    """DuckDB and DuckLake name operators, functions and PostgreSQL's own tables without a schema."""
    name = f"operators_{zlib.crc32(' '.join(statements).encode())}"
    server.run(f"create database {name}")
    address = server.address(name, tmp_path / "data", options="-c application_name=mine")
    warehouse.refresh(str(bucket), address)
    for statement in statements:
        server.run(statement.format(name=name), database=name)
    with warehouse.open(address) as wh:
        assert wh.patients().fetchall()
    warehouse.refresh(str(bucket), address, full=True)
    maintain(address)
    withdrawn = location.parse_address(address)
    changing.withdraw(withdrawn, Settings(), ["Covid1"])
    assert purge(withdrawn, Settings(), ["Covid1"]).holds


@pytest.mark.slow
def test_no_operator_of_somebody_else_runs_where_a_schema_is_made(
    server: Postgres, bucket: Path, tmp_path: Path
) -> None:
    server.run("create database making")
    for statement in make_operators("information_schema.sql_identifier", "public"):
        server.run(statement, database="making")
    warehouse.refresh(str(bucket), server.address("making", tmp_path / "data", schema="lakes"))


@pytest.mark.slow
def test_a_catalogue_to_which_an_upgrade_of_ducklake_added_columns_is_opened(
    server: Postgres, bucket: Path, tmp_path: Path
) -> None:
    server.run("create database upgraded")
    address = server.address("upgraded", tmp_path / "data")
    warehouse.refresh(str(bucket), address)
    for column, value in (("path", "''"), ("path_is_relative", "true")):
        server.run(f"alter table ducklake_schema alter column {column} set default {value}", database="upgraded")
    server.run("alter table ducklake_column alter column default_value_type set default 'literal'", database="upgraded")
    warehouse.open(address).close()


@pytest.mark.slow
def test_a_catalogue_in_a_schema_of_other_letters_is_examined_too(
    server: Postgres, bucket: Path, tmp_path: Path
) -> None:
    server.run("create database letters")
    address = server.address("letters", tmp_path / "data", schema="lakes")
    warehouse.refresh(str(bucket), address)
    for statement in (
        'alter schema lakes rename to "Lakes"',
        'alter table "Lakes".ducklake_snapshot rename to theirs',
        f'{THEIRS}; create view "Lakes".ducklake_snapshot as select * from "Lakes".theirs where theirs()',
    ):
        server.run(statement, database="letters")
    with pytest.raises(LakeError, match="is not opened: ducklake_snapshot is no plain table"):
        warehouse.open(address)


def test_untrusted_sql_reads_the_views_and_no_more(filled: str) -> None:
    with warehouse.open(filled) as wh:
        count = "select count(*) from patients"
        assert wh.sql(count, trusted=False).fetchall() == wh.sql(count).fetchall()
        for query in ("from core.images", "from postgres_query('__ducklake_metadata_lake', 'select 1')"):
            with pytest.raises(UntrustedSqlError):
                wh.sql(query, trusted=False)


def test_second_refresh_does_nothing(filled: str, bucket: Path, server: Postgres) -> None:
    before = server.run("select max(snapshot_id) from ducklake_snapshot", "chest")
    again = warehouse.refresh(str(bucket), filled)
    assert again.published.is_new is False
    assert server.run("select max(snapshot_id) from ducklake_snapshot", "chest") == before


@pytest.mark.slow
def test_which_views_changed_is_read_off_the_catalogue(server: Postgres, bucket: Path, tmp_path: Path) -> None:
    server.run("create database changing")
    address = server.address("changing", tmp_path / "data")
    own = tmp_path / "bucket"
    shutil.copytree(bucket, own)
    first = warehouse.refresh(str(own), address).published.snapshot
    record = next(own.glob("*/*/data/*/data.json"))
    record.write_text(record.read_text() + " ")
    second = warehouse.refresh(str(own), address).published.snapshot
    with warehouse.open(address) as wh:
        moved = set(view_changes.find_changed_views(wh.con, wh.location, first, second))
        assert moved >= {"clinical", "clinical_history", "patients"}
        assert not moved & {"images", "headers", "studies", "series"}
        assert view_changes.find_changed_views(wh.con, wh.location, second, second) == ()


def test_only_one_writer_at_a_time(filled: str, bucket: Path, chest: Chest) -> None:
    place = location.parse_address(filled)
    with store.open_writer(place, Settings()):
        with pytest.raises(LakeBusyError), store.open_writer(place, Settings()):
            pass
        done = chest("refresh", bucket, "--lake", filled, "-q")
        with warehouse.open(filled) as wh:
            assert wh.patients().fetchall()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Another refresh is writing" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with store.open_writer(place, Settings()):
        pass  # the lock went with its holder


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["listing", "checking", "compacting tables"])
def test_a_writer_whose_connections_were_cut_stops_without_its_lock(
    server: Postgres, bucket: Path, tmp_path: Path, moment: str
) -> None:
    """DuckDB connects again without a word; the advisory lock went with the connection."""
    name = f"cut_{moment.replace(' ', '_')}"
    server.run(f"create database {name}")
    address = server.address(name, tmp_path / "data")
    write_objects(tmp_path / "bucket", {"training/P/data/2020-03-01/data.json": '{"Pseudonym": "P"}'})
    is_maintenance = moment.startswith("compacting")
    if is_maintenance:
        warehouse.refresh(str(tmp_path / "bucket"), address)
    cut: list[str] = []

    def step_in(step: str, _done: int, _total: int) -> None:
        if not cut and step == moment:
            others = "pid <> pg_backend_pid() and datname is not null"
            cut.append(server.run(f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {others}"))

    write = (
        partial(maintain, address) if is_maintenance else partial(warehouse.refresh, str(tmp_path / "bucket"), address)
    )
    with pytest.raises(LakeError) as caught:
        write(progress=step_in)
    assert cut
    assert cut != ["0"]
    line = str(caught.value)
    assert "\n" not in line
    assert "p@ss" not in line
    assert moment == "listing" or "closed the connections" in line, "a statement that was interrupted reports it itself"
    warehouse.refresh(str(tmp_path / "bucket"), address)  # the lock is free, and what was left undone is done
    with warehouse.open(address) as wh:
        assert wh.patients().select("patient_id").fetchall() == [("P",)]


@pytest.mark.slow
def test_two_lakes_share_a_database(server: Postgres, tmp_path: Path) -> None:
    server.run("create database shared")
    record = '{"Pseudonym": "%s", "SwabStatus": "Negative"}'
    for site in ("leeds", "york"):
        write_objects(tmp_path / site, {f"training/{site}/data/2020-03-01/data.json": record % site})
    addresses = {site: server.address("shared", tmp_path / f"{site}-data", schema=site) for site in ("leeds", "york")}
    with store.open_writer(location.parse_address(addresses["leeds"]), Settings()):
        warehouse.refresh(str(tmp_path / "york"), addresses["york"])  # a lock of its own
    warehouse.refresh(str(tmp_path / "leeds"), addresses["leeds"])
    for site, address in addresses.items():
        with warehouse.open(address) as wh:
            assert wh.patients().select("patient_id").fetchall() == [(site,)]


@pytest.mark.slow
def test_parquet_on_s3(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.run("create database remote")
    record = {"training/Covid1/data/2020-03-01/data.json": '{"Pseudonym": "Covid1", "SwabStatus": "Negative"}'}
    write_objects(tmp_path / "bucket", record)
    address = server.address("remote", "s3://parquet/lake")
    with serve_moto() as s3:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        client = s3.client()
        client.create_bucket(Bucket="parquet")
        warehouse.refresh(str(tmp_path / "bucket"), address)
        with warehouse.open(address) as wh:
            assert wh.clinical().select("patient_id, kind").fetchall() == [("Covid1", "status")]
            assert wh.sql("select patient_id from patients", trusted=False).fetchall() == [("Covid1",)]
            with wh.sandboxed() as held, pytest.raises(duckdb.Error, match="disabled"):
                held.con.execute("from read_parquet('s3://elsewhere/x.parquet')")
        stored = [row["Key"] for row in client.list_objects_v2(Bucket="parquet")["Contents"]]
    assert any(key.startswith("lake/core/clinical/") and key.endswith(".parquet") for key in stored)


@pytest.mark.parametrize("command", ["status", "refresh"])
@pytest.mark.parametrize("trouble", ["wrong password", "no database", "no server"])
def test_troubles_are_one_line_without_the_password(
    server: Postgres, bucket: Path, tmp_path: Path, here: Chest, command: str, trouble: str
) -> None:
    wrong = {
        "wrong password": Postgres(server.port, server.psql, password="wr0ng p@ss'word"),
        "no database": server,
        "no server": Postgres(9, server.psql),
    }[trouble]
    address = wrong.address("nowhere" if trouble == "no database" else "postgres", tmp_path / "data")
    source = [bucket] if command == "refresh" else []
    done = here(command, *source, "--lake", address)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("chest: ")
    for secret in ("p@ss", "p%40ss", "word'", "password="):
        assert secret not in done.stderr


def test_status_names_the_lake_without_the_password(filled: str, here: Chest) -> None:
    done = here("status", "--lake", filled, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lake"] == "postgres://127.0.0.1/chest"
    assert "p@ss" not in done.stdout + done.stderr


def test_reading_makes_no_lake(server: Postgres, tmp_path: Path) -> None:
    server.run("create database blank")
    with pytest.raises(LakeError):
        warehouse.open(server.address("blank", tmp_path / "data"))
    assert server.run("select count(*) from information_schema.tables where table_schema = 'public'", "blank") == "0"


def test_an_address_without_data_path_is_refused(server: Postgres, here: Chest) -> None:
    done = here("status", "--lake", f"postgres://me:hush@127.0.0.1:{server.port}/chest")
    assert done.returncode == 2
    assert "data_path" in done.stderr
    assert "hush" not in done.stderr


def test_a_schema_must_be_a_plain_name(server: Postgres, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a valid schema name"):
        location.parse_address(server.address("chest", tmp_path, schema="a'b"))


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_is_one_line_and_no_abort(bucket: Path, tmp_path: Path) -> None:
    """In a process of its own: closing a connection whose transaction is open would end it by a signal."""
    script = """
import os, signal, socket, sys
import warehouse
from warehouse.cli import _explain_fault

source, lake, process, port = sys.argv[1:]

def kill(step, done, total):
    if step == "images":
        os.kill(int(process), signal.SIGQUIT)
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
            except OSError:
                return

try:
    warehouse.refresh(source, lake, progress=kill)
except warehouse.WarehouseError as error:
    print(error)
except Exception as error:
    print(_explain_fault(error))
"""
    with (
        contextlib.suppress(subprocess.CalledProcessError),
        serve_postgres() as server,
    ):  # there is nothing left to stop
        process = server.run("select pg_read_file('postmaster.pid')").split("\n")[0]
        words = [str(bucket), server.address("postgres", tmp_path / "data"), process, str(server.port)]
        done = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False, timeout=100
        )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "lake" in line
    assert "p@ss" not in line
