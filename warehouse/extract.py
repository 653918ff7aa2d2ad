"""Extraction: a batch of raw JSON texts to typed rows; knows no storage.

A batch is an Arrow table with the columns of raw.objects and `content`, the text of each object (null where
there is none). DuckDB's json_transform does the work, in whatever connection is at hand, and leaves a
temporary table there: to be inserted into a lake, or to be taken away as Arrow.

Binding the query costs about 60 ms whatever the number of rows, so batches should have thousands of them.
"""

from typing import TYPE_CHECKING

import duckdb

from warehouse import columns, sqlfiles

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a DuckDB vector: batches cut so are shared out among its threads.
_VECTOR = 2048


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Make the macros of the extraction known to a connection."""
    con.execute(sqlfiles.read("extract/macros.sql"))


def headers(con: duckdb.DuckDBPyConnection, batch: "pa.Table", table: str = "rows_read") -> None:
    """Make the temporary table of rows of core.images, and `is_header` (false: no header, attributes are null)."""
    _run(con, columns.header_extraction(), batch, table)


def records(con: duckdb.DuckDBPyConnection, batch: "pa.Table", table: str = "rows_read") -> None:
    """Make the temporary table of rows of core.clinical, and `is_record` (false: no JSON object)."""
    _run(con, columns.record_extraction(), batch, table)


def _run(con: duckdb.DuckDBPyConnection, query: str, batch: "pa.Table", table: str) -> None:
    import pyarrow as pa

    con.register("batch", pa.Table.from_batches(batch.combine_chunks().to_batches(max_chunksize=_VECTOR), batch.schema))
    con.execute(f"create or replace temp table {table} as {query}")
