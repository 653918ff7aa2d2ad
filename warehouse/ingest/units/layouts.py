"""How the lake stores its tables: their folders, the options of their files, and how they are partitioned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts
from warehouse.lake.snapshots import find_catalogue

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of a table below the data path, with a slash at its end; the compression of its files and the size of
    their row groups; the column by whose year it is partitioned, or "" if it is not; and the ids of its columns, as
    DuckDB's COPY takes them."""

    folder: str
    compression: str
    row_group_size: int
    year_of: str
    field_ids: str


def read_layouts(con: duckdb.DuckDBPyConnection, location: Location, tables: list[str]) -> dict[str, Layout] | None:
    """Read the layouts of tables of the attached lake; None if one is stored as only DuckLake can."""
    sql, catalogue = sql_files.read_statements("store/layouts.sql"), find_catalogue(location)
    fields = fetch_dicts(con.execute(sql_files.fill(sql["columns"], catalogue=catalogue)))
    query = sql_files.fill(sql["layouts"], catalogue=catalogue)
    found = {}
    for table, folder, compression, size, n_columns, transform, column in con.execute(query).fetchall():
        is_known = n_columns == 0 or (n_columns == 1 and transform == "year")
        if is_known and compression and size and not folder.startswith("/") and "://" not in folder:
            own = [field for field in fields if field["table_name"] == table]
            found[table] = Layout(folder, compression, size, column or "", _render_ids(own, None))
    return {table: found[table] for table in tables} if found.keys() >= set(tables) else None


def _render_ids(fields: list[dict[str, Any]], parent: int | None) -> str:
    """The ids of columns as COPY takes them: `{name: id}`, of a list `{name: {__duckdb_field_id: id, element: id}}`."""
    parts = [] if parent is None else [f"__duckdb_field_id: {parent}"]
    for field in fields:
        if field["parent_column"] == parent:
            name, number = sql_files.identifier(field["column_name"]), field["column_id"]
            has_parts = any(each["parent_column"] == number for each in fields)
            parts.append(f"{name}: {_render_ids(fields, number) if has_parts else number}")
    return f"{{{', '.join(parts)}}}"
