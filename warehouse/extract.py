"""Extraction: a batch of raw JSON texts to typed rows, Arrow in, Arrow out; knows no storage.

A batch is an Arrow table with the columns of raw.objects and `content`, the text of each object (null where
there is none). DuckDB's json_transform does the work in an in-memory `connection()`, so that batches can be
extracted on several threads, or one day on several machines.

Binding a query costs about 50 ms, so it is done once; a batch costs 20 ms whatever the number of its rows, so it should
have thousands of them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse import columns, sqlfiles

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a DuckDB vector.
_VECTOR = 2048


class _Batch:
    """Stands in for the batch of the moment, so that a query prepared over it once reads the next one too."""

    table: "pa.Table"

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


@dataclass(slots=True)
class Extractor:
    """A connection to extract in; each query is prepared at its first batch, for batches of the same columns."""

    con: duckdb.DuckDBPyConnection
    _batch: _Batch = field(default_factory=_Batch)
    _prepared: dict[str, "pa.Schema"] = field(default_factory=dict)

    def run(self, name: str, query: str, batch: "pa.Table") -> "pa.Table":
        """The rows of a query over the relation `batch`."""
        import pyarrow as pa

        chunks = batch.combine_chunks().to_batches(max_chunksize=_VECTOR)
        self._batch.table = pa.Table.from_batches(chunks, batch.schema)
        if self._prepared.get(name) != batch.schema:
            self.con.register("batch", self._batch)
            self.con.execute(f"prepare {name} as {query}")
            self._prepared[name] = batch.schema
        return self.con.execute(f"execute {name}").to_arrow_table()


@contextlib.contextmanager
def connection() -> Iterator[Extractor]:
    """An extractor: in memory, one thread, with the macros that the extraction uses."""
    with duckdb.connect(config={"threads": 1, "memory_limit": "200MB"}) as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(sqlfiles.read("extract/macros.sql"))
        yield Extractor(con)


def headers(extractor: Extractor, batch: "pa.Table") -> "pa.Table":
    """Rows of core.images, and `is_header` (false: no DICOM header, its attributes are null); in any order."""
    return extractor.run("headers", columns.header_extraction(), batch)


def records(extractor: Extractor, batch: "pa.Table") -> "pa.Table":
    """Rows of core.clinical, and `is_record` (false: no JSON object); in any order."""
    return extractor.run("records", columns.record_extraction(), batch)
