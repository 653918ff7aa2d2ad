"""Extraction: a batch of raw JSON texts to typed rows, Arrow in, Arrow out; knows no storage.

A batch is an Arrow table with the columns of raw.objects and `content`, the text of each object (null where
there is none). DuckDB's json_transform does the work in an in-memory `connection()`, so that batches can be
extracted on several threads, or one day on several machines.

Binding a query costs about 50 ms, so it is done once; a batch costs 20 ms whatever the number of its rows, so it should
have thousands of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.engine import spill, sql_files

if TYPE_CHECKING:
    import pyarrow as pa


#: Rows of a DuckDB vector.
_VECTOR = 2048
#: Objects of a unit that may fail.
_MOST_FAILED = 200
#: What is extracted from a batch: rows, and what goes with them.
Tables = tuple["pa.Table", "pa.Table"]


class _Batch:
    """Stands in for the batch of the moment, so that a query prepared over it once reads the next one too."""

    table: pa.Table

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


@dataclass(slots=True)
class Extractor:
    """A connection to extract in; each query is prepared at its first batch, for batches of the same columns."""

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
    """An extractor: in memory, one thread, with the macros that the extraction uses."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": "200MB",
        "temp_directory": spill.find_spill_folder(),
    }
    with duckdb.connect(config=config) as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(sql_files.read("extract/macros.sql"))
        yield Extractor(con)


def extract_piecemeal(
    extract: Callable[[Extractor, pa.Table], Tables], extractor: Extractor, batch: pa.Table
) -> tuple[Tables, dict[str, str]]:
    """What `extract` gives for a batch, and why, by key, objects could not be extracted.

    Where a batch fails, for want of memory or whatever else, its halves are tried, so that one object stops no other.
    When most of a batch fails it is not the objects: the error is raised.
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
    # What failed may have broken its connection: each half has a new one.
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
    """The batch in pieces of a DuckDB vector."""
    import pyarrow as pa

    return pa.Table.from_batches(batch.combine_chunks().to_batches(max_chunksize=_VECTOR), batch.schema)
