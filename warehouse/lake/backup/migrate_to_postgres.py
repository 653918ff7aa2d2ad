"""Moves a lake's catalogue from SQLite to PostgreSQL, with all snapshots, so that every manifest stays reproducible."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.engine.faults import explain_faults
from warehouse.engine.messages import first_line
from warehouse.engine.rows import fetch_first
from warehouse.engine.sql_files import fill, identifier, literal, read_statements
from warehouse.errors import LakeError, UsageError
from warehouse.filesystem import files
from warehouse.lake import connection, locks, store
from warehouse.lake.backup.contents import read_contents
from warehouse.lake.location import CATALOGUE, Location, parse_address
from warehouse.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Moved:
    """The new lake and its contents."""

    lake: str
    snapshot: int | None
    files: int
    bytes: int


@explain_faults()
def move(lake_address: str, target_address: str, *, settings: Settings | None = None) -> Moved:
    """Fill an empty PostgreSQL catalogue from a lake in a folder, whose data files were copied to the target's path.

    Raises UsageError when the target is not a PostgreSQL address or already has a lake, LakeBusyError while either is
    written to, LakeError when a data file has not been copied; then nothing was moved.
    """
    settings = settings or load_settings()
    source, target = parse_address(lake_address or settings.lake), parse_address(target_address)
    if source.folder is None or not target.is_postgres:
        raise UsageError("Only a lake in a folder can be moved, and only to postgres://…?data_path=…")
    if not store.exists(source):
        raise LakeError(f"There is no lake at {source.name}. Check --lake or CHEST_LAKE.")
    with locks.hold_lock(source, settings), locks.hold_lock(target, settings), files.open_temporary_folder() as folder:
        copy = folder / CATALOGUE
        content = read_contents(source.catalogue, copy)
        with contextlib.closing(connection.connect(settings, target)) as con:
            connection.load_extension(con, "sqlite_scanner")
            connection.attach(con, target)  # creates the tables of an empty catalogue
            con.execute(f"use memory; detach {store.ALIAS}")
            try:
                _fill(con, target, copy)
            except duckdb.Error as error:
                raise LakeError(f"The lake {target.name} cannot be filled: {first_line(error)}") from None
    return Moved(target.name, content.published, len(content.files), sum(content.files.values()))


def _fill(con: duckdb.DuckDBPyConnection, target: Location, copy: Path) -> None:
    connection.attach_sqlite(con, copy, "old", "read_only")
    connection.attach_postgres(con, target, "new")
    sql = {
        name: _fill_known(
            text,
            schema=literal(target.schema),
            schema_name=identifier(target.schema),
            data_path=literal(target.data_path),
        )
        for name, text in read_statements("backup/moving.sql").items()
    }
    newest = fetch_first(con.execute(sql["newest"]))
    if newest and newest[0]:
        raise UsageError(f"{target.name} is already a lake. Give another database or schema.")
    if unknown := con.execute(sql["unknown"]).fetchall():
        raise LakeError(f"The catalogue has tables that cannot be moved: {', '.join(name for (name,) in unknown)}.")
    if missing := con.execute(sql["missing"]).fetchall():
        raise LakeError(
            f"{len(missing):,} files are missing in {target.data_path}, such as {missing[0][0]}. Copy the lake's data/ "
            "there, then run it again. Nothing was moved."
        )
    con.execute("begin")
    for table, names, values in con.execute(sql["tables"]).fetchall():
        con.execute(fill(sql["clear"], table=identifier(table)))
        con.execute(fill(sql["fill"], table=identifier(table), columns=names, values=values))
    con.execute(sql["data_path"])
    con.execute("commit")


def _fill_known(template: str, **values: str) -> str:
    """Fill the holes that have a value, and leave the others for later."""
    for name, value in values.items():
        template = template.replace("{{ " + name + " }}", value)
    return template
