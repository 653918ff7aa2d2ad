"""The Parquet files that a lake's catalogue lists: data files and delete files, of every snapshot that it still has."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from warehouse.engine import sql_files
from warehouse.lake.location import Location
from warehouse.lake.snapshots import find_catalogue

SQL = "store/files.sql"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as the catalogue has it. `path` is below the data path, or whole where DuckLake does not keep it so.

    `kind` is data or delete; `data_file` is the id of the data file that a delete file belongs to, else its own. It is
    in the snapshots from `begin` up to, but without, `end` (None: in the newest too). `table` is "" without a table.
    """

    kind: str
    id: int
    data_file: int
    table_id: int
    table: str
    path: str
    size: int
    rows: int
    begin: int
    end: int | None
    key: str | None

    @property
    def is_live(self) -> bool:
        """Whether the newest snapshot needs it."""
        return self.end is None


def list_files(con: duckdb.DuckDBPyConnection, location: Location, catalogue: str = "") -> list[ListedFile]:
    """List the files of the attached lake, by path; reads no Parquet."""
    query = sql_files.fill(sql_files.read_statements(SQL)["listed"], catalogue=catalogue or find_catalogue(location))
    return [
        ListedFile(kind, id_, of, table_id, table, shorten(location, path), size, rows, begin, end, key)
        for kind, id_, of, table_id, table, path, size, rows, begin, end, key in con.execute(query).fetchall()
    ]


def shorten(location: Location, path: str) -> str:
    """A path without the data path, if it is below it."""
    return path.removeprefix(location.data_path)
