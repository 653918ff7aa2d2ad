"""Writes the rows of a unit as Parquet files into the partitions of the lake. The catalogue learns of them later."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.filesystem import files
from warehouse.ingest import preparing
from warehouse.ingest.units.unit import Work, WrittenFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from warehouse.ingest.object_kinds import ObjectKind
    from warehouse.ingest.preparing import Prepared
    from warehouse.ingest.units.layouts import Layout
    from warehouse.lake.stored_files import Storage

_SQL = "ingest/units.sql"


def write_unit(
    con: duckdb.DuckDBPyConnection, storage: Storage, work: Work, kind: ObjectKind, unit: Prepared
) -> Iterator[WrittenFile]:
    """Write the rows of a prepared unit, for each table a file a partition. `con` has the credentials of the data path.

    The files are named as DuckLake names its own, so that maintenance removes those that never become part of the lake.
    """
    preparing.register_rows(con, kind, unit)
    for table, rows in preparing.list_rows(kind).items():
        layout = work.layouts[table]
        for folder, part in _divide(con, layout, rows):
            if not work.data_path.startswith("s3://"):
                files.make_folder(Path(work.data_path, folder), below=work.data_path)
            path = f"{folder}ducklake-{uuid.uuid4()}.parquet"
            n_rows = _write(con, work.data_path + path, table, layout, part)
            if not n_rows:
                storage.remove(path)
            elif checksum := storage.hash_file(path):
                yield WrittenFile(table, path, n_rows, checksum)


def _divide(con: duckdb.DuckDBPyConnection, layout: Layout, rows: str) -> Iterator[tuple[str, str]]:
    """The folder of each partition, and the query for its rows."""
    if not layout.year_of:
        yield layout.folder, rows
        return
    sql = sql_files.read_statements(_SQL)
    column = sql_files.identifier(layout.year_of)
    years = sql_files.fill(sql["years"], rows=rows, column=column)
    for (year,) in con.execute(years).fetchall():
        # DuckLake's own names of folders; a file registers with the value of its rows, not of its folder.
        yield (
            f"{layout.folder}year={year}/",
            sql_files.fill(sql["of_year"], rows=rows, column=column, year=str(int(year))),
        )


def _write(con: duckdb.DuckDBPyConnection, path: str, table: str, layout: Layout, rows: str) -> int:
    """Write the rows of a query, with the columns of the table in their types; returns their number."""
    row = fetch_first(
        con.execute(
            sql_files.fill(
                sql_files.read_statements(_SQL)["write"],
                columns=_list_columns(table),
                rows=rows,
                path=sql_files.literal(path),
                compression=sql_files.literal(layout.compression),
                row_group_size=str(layout.row_group_size),
                field_ids=layout.field_ids,
            )
        )
    )
    return int(row[0]) if row else 0


def _list_columns(table: str) -> str:
    return ", ".join(
        f"cast({sql_files.identifier(column.name)} as {column.type}) as {sql_files.identifier(column.name)}"
        for column in columns.load_relations()[table].columns
    )
