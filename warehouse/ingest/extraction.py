"""Extraction: converts a batch of raw JSON texts to typed rows, from Arrow to Arrow, independent of storage.

A batch is an Arrow table with the columns of raw.objects and `content`, the text of each object (null if
missing). DuckDB's json_transform does the work in an in-memory `connection()`, so that batches can be
extracted on several threads, or one day on several machines.

Binding a query costs about 50 ms, so it is done once; a batch costs 20 ms for any number of rows, so it should have
thousands.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.engine import spill, sql_files
from warehouse.engine.connections import open_connection

if TYPE_CHECKING:
    import pyarrow as pa


#: Rows of a DuckDB vector.
_VECTOR = 2048
#: The most objects of a unit that may fail.
_MOST_FAILED = 200
#: The result of extracting a batch: rows, and related tables.
Tables = tuple["pa.Table", "pa.Table"]


class _Batch:
    """A proxy for the current batch, so that a query prepared once reads the next batch too."""

    table: pa.Table

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


@dataclass(slots=True)
class Extractor:
    """A connection for extraction; each query is prepared at its first batch, for batches with the same columns."""

    con: duckdb.DuckDBPyConnection
    _batch: _Batch = field(default_factory=_Batch)
    _prepared: dict[str, pa.Schema] = field(default_factory=dict)

    def extract_rows(self, name: str, query: str, batch: pa.Table) -> pa.Table:
        """The rows of a query over the relation `batch`."""
        self._batch.table = cut_batch(batch)
        if self._prepared.get(name) != batch.schema:
            self.con.register("batch", self._batch)
            self.con.execute(f"prepare {sql_files.identifier(name)} as {query}")
            self._prepared[name] = batch.schema
        return self.con.execute(f"execute {sql_files.identifier(name)}").to_arrow_table()


@contextlib.contextmanager
def open_extractor() -> Iterator[Extractor]:
    """Open an extractor: in memory, single-threaded, with the macros for extraction."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": "200MB",
        "temp_directory": spill.find_spill_folder(),
    }
    with open_connection(config) as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(sql_files.read("extract/macros.sql"))
        yield Extractor(con)


def extract_piecemeal(
    extract: Callable[[Extractor, pa.Table], Tables], extractor: Extractor, batch: pa.Table
) -> tuple[Tables, dict[str, str]]:
    """Extract a batch; returns the result, and by key the reasons why objects failed.

    If a batch fails, for lack of memory or any other reason, its halves are tried, so that one object does not stop
    others. If most of a batch fails, the objects are not the cause, and the error is raised.
    """
    try:
        return extract(extractor, batch), {}
    except Exception as error:
        failure = error
    tables, failed = _extract_halves(extract, batch, failure)
    if len(failed) > max(1, batch.num_rows // 2) or len(failed) > _MOST_FAILED:
        raise failure
    return tables, failed


def _extract_halves(
    extract: Callable[[Extractor, pa.Table], Tables], batch: pa.Table, failure: Exception
) -> tuple[Tables, dict[str, str]]:
    # The failure may have broken the connection: each half gets a new one.
    if batch.num_rows == 1:
        with open_extractor() as fresh, contextlib.suppress(Exception):
            return extract(fresh, batch), {}
        reason = (
            f"could not be read by this version of the tool ({type(failure).__name__}); another version tries again"
        )
        with open_extractor() as fresh:
            return extract(fresh, batch.slice(0, 0)), {batch.column("key")[0].as_py(): reason}
    import pyarrow as pa

    half = batch.num_rows // 2
    found: list[Tables] = []
    failed: dict[str, str] = {}
    for part in (batch.slice(0, half), batch.slice(half)):
        try:
            with open_extractor() as fresh:
                found.append(extract(fresh, part))
        except Exception as error:
            tables, reasons = _extract_halves(extract, part, error)
            found.append(tables)
            failed |= reasons
        if len(failed) > _MOST_FAILED:
            raise failure
    rows, more = zip(*found, strict=True)
    return (pa.concat_tables(rows), pa.concat_tables(more)), failed


def drop_unreadable(batch: pa.Table, keys: Collection[str]) -> pa.Table:
    """The batch without these objects."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not keys:
        return batch
    return batch.filter(pc.invert(pc.is_in(batch.column("key"), pa.array(list(keys), pa.string()))))


def cut_batch(batch: pa.Table) -> pa.Table:
    """Split the batch into pieces of the size of a DuckDB vector."""
    import pyarrow as pa

    return pa.Table.from_batches(batch.combine_chunks().to_batches(max_chunksize=_VECTOR), batch.schema)
