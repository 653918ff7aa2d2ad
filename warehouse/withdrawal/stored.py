"""The Parquet files of a lake, as its catalogue lists them for all snapshots together, to be read without DuckLake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.lake.listed_files import ListedFile, find_path, list_files

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location

_SQL = "withdrawal/rows.sql"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file: the table, the snapshots that need it (from begin, before end), and whether it has the column of
    contents that names a patient. `stored_path` is its path as the catalogue has it."""

    file_id: int
    table_id: int
    table_name: str
    path: str
    stored_path: str
    encryption_key: str | None
    begin_snapshot: int
    end_snapshot: int | None
    record_count: int
    row_id_start: int | None
    has_content: bool


@dataclass(frozen=True, slots=True)
class DeleteFile:
    """A delete file: positions of rows that are deleted in a data file, from a snapshot on."""

    delete_id: int
    file_id: int
    path: str
    stored_path: str
    format: str
    encryption_key: str | None
    begin_snapshot: int
    end_snapshot: int | None
    partial_max: int | None


def list_data_files(con: duckdb.DuckDBPyConnection, location: Location, catalogue: str) -> list[DataFile]:
    """List the data files of all snapshots, by id; `catalogue` is the schema with DuckLake's tables, quoted."""
    query = sql_files.fill(sql_files.read_statements(_SQL)["with content"], catalogue=catalogue)
    with_content = {file_id for (file_id,) in con.execute(query).fetchall()}
    return [
        DataFile(
            file_id=file.id,
            table_id=file.table_id,
            table_name=file.table,
            path=find_path(location, file),
            stored_path=file.stored_path,
            encryption_key=file.key,
            begin_snapshot=file.begin,
            end_snapshot=file.end,
            record_count=file.rows,
            row_id_start=file.first_row_id,
            has_content=file.id in with_content,
        )
        for file in _list(con, location, catalogue, "data")
    ]


def list_delete_files(con: duckdb.DuckDBPyConnection, location: Location, catalogue: str) -> list[DeleteFile]:
    """List the delete files of all snapshots, by id."""
    return [
        DeleteFile(
            delete_id=file.id,
            file_id=file.data_file,
            path=find_path(location, file),
            stored_path=file.stored_path,
            format=file.format,
            encryption_key=file.key,
            begin_snapshot=file.begin,
            end_snapshot=file.end,
            partial_max=file.partial_max,
        )
        for file in _list(con, location, catalogue, "delete")
    ]


def _list(con: duckdb.DuckDBPyConnection, location: Location, catalogue: str, kind: str) -> list[ListedFile]:
    found = (file for file in list_files(con, location, catalogue) if file.kind == kind and file.table)
    return sorted(found, key=lambda file: file.id)


def render_scan(files: Sequence[DataFile | DeleteFile], *, by_name: bool = False) -> str:
    """SQL that reads Parquet files with their names and positions; encrypted ones by their keys."""
    parts = [
        _render_read([file.path for file in same], key, by_name=by_name)
        for key, same in groupby(
            sorted(files, key=lambda file: file.encryption_key or ""), lambda file: file.encryption_key
        )
    ]
    return parts[0] if len(parts) == 1 else f"({' union all by name '.join(f'from {part}' for part in parts)})"


def _render_read(paths: list[str], key: str | None, *, by_name: bool) -> str:
    listed = ", ".join(map(sql_files.literal, paths))
    options = "filename = true, file_row_number = true, hive_partitioning = false"
    if by_name and not key:  # DuckDB 1.5.5 fails with both; these are read one by one in any case
        options += ", union_by_name = true"
    return f"read_parquet([{listed}], {options}{render_encryption(key, '=')})"


def render_encryption(key: str | None, sign: str = "") -> str:
    """The option of a file that is encrypted, after others. A text of 24 characters would be taken for the key itself,
    but is one of 16 bytes in base 64."""
    return f", encryption_config {sign} {{footer_key_value: from_base64({sql_files.literal(key)})}}" if key else ""
