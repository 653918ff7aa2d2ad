"""The Parquet files that a lake's catalogue lists: data files and delete files, of every snapshot that it still has."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts
from warehouse.lake.location import Location
from warehouse.lake.snapshots import find_catalogue

SQL = "store/files.sql"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as the catalogue has it. `path` is below the data path, or whole where DuckLake does not keep it so;
    `stored_path` is what the catalogue has.

    `kind` is data or delete; `data_file` is the id of the data file that a delete file belongs to, else its own. It is
    in the snapshots from `begin` up to, but without, `end` (None: in the newest too). `table` is "" without a table.
    `first_row_id` is of data files, `format` (parquet or puffin) and `partial_max` (the last snapshot of which a file
    that was merged has deletions) of delete files.
    """

    kind: str
    id: int
    data_file: int
    table_id: int
    table: str
    path: str
    stored_path: str
    size: int
    rows: int
    begin: int
    end: int | None
    key: str | None
    first_row_id: int | None
    format: str
    partial_max: int | None

    @property
    def is_live(self) -> bool:
        """Whether the newest snapshot needs it."""
        return self.end is None


def list_files(con: duckdb.DuckDBPyConnection, location: Location, catalogue: str = "") -> list[ListedFile]:
    """List the files of the attached lake, by path; reads no Parquet."""
    query = sql_files.fill(sql_files.read_statements(SQL)["listed"], catalogue=catalogue or find_catalogue(location))
    return [ListedFile(**{**row, "path": shorten(location, row["path"])}) for row in fetch_dicts(con.execute(query))]


def find_path(location: Location, file: ListedFile) -> str:
    """The whole path of a listed file."""
    is_whole = "://" in file.path or file.path.startswith("/")
    return file.path if is_whole else location.data_path + file.path


def shorten(location: Location, path: str) -> str:
    """A path without the data path, if it is below it."""
    return path.removeprefix(location.data_path)
