"""How the lake stores its tables: their folders, the options of their files, and how they are partitioned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.lake.snapshots import find_catalogue

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of a table below the data path, with a slash at its end; the compression of its files and the size of
    their row groups; and the column by whose year it is partitioned, or "" if it is not."""

    folder: str
    compression: str
    row_group_size: int
    year_of: str


def read_layouts(con: duckdb.DuckDBPyConnection, location: Location, tables: list[str]) -> dict[str, Layout] | None:
    """Read the layouts of tables of the attached lake; None if one is stored as only DuckLake can."""
    query = sql_files.fill(
        sql_files.read_statements("store/layouts.sql")["layouts"], catalogue=find_catalogue(location)
    )
    found = {}
    for table, folder, compression, size, n_columns, transform, column in con.execute(query).fetchall():
        is_known = n_columns == 0 or (n_columns == 1 and transform == "year")
        if is_known and compression and size and not folder.startswith("/") and "://" not in folder:
            found[table] = Layout(folder, compression, size, column or "")
    return {table: found[table] for table in tables} if found.keys() >= set(tables) else None
