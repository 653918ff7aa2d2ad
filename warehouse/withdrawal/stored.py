"""The Parquet files of a lake, as its catalogue lists them for all snapshots together; read without DuckLake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts

if TYPE_CHECKING:
    import duckdb

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


def list_data_files(con: duckdb.DuckDBPyConnection, catalogue: str, data_path: str) -> list[DataFile]:
    """List the data files of all snapshots; `catalogue` is the schema with DuckLake's tables, quoted."""
    return [DataFile(**row) for row in _fetch(con, "files", catalogue, data_path)]


def list_delete_files(con: duckdb.DuckDBPyConnection, catalogue: str, data_path: str) -> list[DeleteFile]:
    """List the delete files of all snapshots."""
    return [DeleteFile(**row) for row in _fetch(con, "deletes", catalogue, data_path)]


def _fetch(con: duckdb.DuckDBPyConnection, name: str, catalogue: str, data_path: str) -> list[dict[str, Any]]:
    query = sql_files.read_statements(_SQL)[name]
    return fetch_dicts(con.execute(sql_files.fill(query, catalogue=catalogue, data_path=sql_files.literal(data_path))))


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
