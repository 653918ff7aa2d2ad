"""Drops files from the newest state of a lake in its catalogue: DuckDB cannot delete rows that it cannot read.

It does to the catalogue what DuckLake does when a deletion takes all rows of a file: a new snapshot in which the file
ends. The lake must not be attached anywhere in this process meanwhile, and the writer's lock must be held.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.messages import first_line
from warehouse.errors import LakeError
from warehouse.lake import connection
from warehouse.lake.listed_files import ListedFile
from warehouse.lake.location import Location
from warehouse.lake.snapshots import find_catalogue
from warehouse.lake.transactions import get_author
from warehouse.settings import Settings
from warehouse.version import __version__

SQL = "doctor/repair.sql"
#: The name under which the catalogue itself is attached.
_NAME = "catalogue"


def choose_files(lost: Sequence[ListedFile], files: Sequence[ListedFile]) -> list[ListedFile]:
    """The live files that have to go for the lost ones to go: without its list of deleted rows a data file would show
    them again, and goes too; a data file takes its list along."""
    data = {file.data_file for file in lost if file.is_live}
    return [file for file in files if file.is_live and file.data_file in data]


def drop_files(location: Location, settings: Settings, files: Sequence[ListedFile]) -> None:
    """Drop live files in one transaction, as a new snapshot; LakeError if the catalogue cannot be written."""
    with contextlib.closing(connection.connect(settings, location)) as con:
        try:
            if location.is_postgres:
                connection.attach_postgres(con, location, _NAME)
            else:
                connection.attach_sqlite(con, location.catalogue, _NAME)
            con.execute("begin")
            _write(con, find_catalogue(location, _NAME), files)
            con.execute("commit")
        except duckdb.Error as error:
            raise LakeError(f"The catalogue of {location.name} cannot be repaired: {first_line(error)}.") from None


def _write(con: duckdb.DuckDBPyConnection, catalogue: str, files: Sequence[ListedFile]) -> None:
    sql = sql_files.read_statements(SQL)
    tables = sorted({file.table_id for file in files})
    names = ", ".join(sorted({file.table for file in files}))
    con.execute(sql_files.fill(sql["snapshot"], catalogue=catalogue))
    con.execute(
        sql_files.fill(sql["changes"], catalogue=catalogue),
        {
            "changes": ",".join(f"deleted_from_table:{table}" for table in tables),
            "author": get_author(),
            "message": f"doctor: dropped {len(files):,} damaged files of {names}",
            "info": json.dumps({"tool": __version__, "dropped": [file.path for file in files]}),
        },
    )
    for kind, column in (("data", "data_file_id"), ("delete", "delete_file_id")):
        if ids := [str(file.id) for file in files if file.kind == kind]:
            table = f"ducklake_{kind}_file"
            con.execute(
                sql_files.fill(sql["drop"], catalogue=catalogue, table=table, column=column, ids=", ".join(ids))
            )
