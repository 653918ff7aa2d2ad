"""Extraction: a batch of raw JSON texts to typed rows, Arrow in, Arrow out; knows no storage.

A batch is an Arrow table with the columns of raw.objects and `content`, the text of each object (null where
there is none). DuckDB's json_transform does the work in an in-memory `connection()`, so that batches can be
extracted on several threads, or one day on several machines.

Binding the query costs about 60 ms whatever the number of rows, so batches should have thousands of them.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import duckdb

from warehouse import columns, sqlfiles

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a DuckDB vector.
_VECTOR = 2048


@contextlib.contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to extract in: in memory, one thread, with the macros that the extraction uses."""
    with duckdb.connect(config={"threads": 1, "memory_limit": "200MB"}) as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(sqlfiles.read("extract/macros.sql"))
        yield con


def headers(con: duckdb.DuckDBPyConnection, batch: "pa.Table") -> "pa.Table":
    """Rows of core.images, and `is_header` (false: no DICOM header, its attributes are null); in any order."""
    return _run(con, columns.header_extraction(), batch)


def records(con: duckdb.DuckDBPyConnection, batch: "pa.Table") -> "pa.Table":
    """Rows of core.clinical, and `is_record` (false: no JSON object); in any order."""
    return _run(con, columns.record_extraction(), batch)


def _run(con: duckdb.DuckDBPyConnection, query: str, batch: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    con.register("batch", pa.Table.from_batches(batch.combine_chunks().to_batches(max_chunksize=_VECTOR), batch.schema))
    return con.execute(query).to_arrow_table()
