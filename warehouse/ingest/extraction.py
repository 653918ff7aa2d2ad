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
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse import cleaning
from warehouse.catalog import columns
from warehouse.cleaning import limits, tables
from warehouse.dicom import normal_form
from warehouse.engine import spill, sql_files
from warehouse.errors import UnreadableError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from warehouse.dicom import normalising

#: Rows of a DuckDB vector.
_VECTOR = 2048


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

    def run(self, name: str, query: str, batch: pa.Table) -> pa.Table:
        """The rows of a query over the relation `batch`."""
        self._batch.table = _cut(batch)
        if self._prepared.get(name) != batch.schema:
            self.con.register("batch", self._batch)
            self.con.execute(f"prepare {name} as {query}")
            self._prepared[name] = batch.schema
        return self.con.execute(f"execute {name}").to_arrow_table()


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


#: What is extracted from a batch: rows, and what goes with them.
Tables = tuple["pa.Table", "pa.Table"]


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
    tables, failed = _halves(extract, batch, failure)
    if len(failed) > max(1, batch.num_rows // 2) or len(failed) > _MOST_FAILED:
        raise failure
    return tables, failed


#: Objects of a unit that may fail.
_MOST_FAILED = 200


def _halves(
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
            tables, reasons = _halves(extract, part, error)
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


def extract_headers(extractor: Extractor, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows of core.images, and `is_header` (false: no DICOM header, its attributes are null); in any order.

    And the `key` and `reading` of those headers that were not sent in normal form: what readers read in their place.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = extractor.run("headers", _headers_sql()["headers"], batch)
    normal = pc.if_else(normal_form.matches_form(batch.column("content")), batch.column("key"), None)
    is_plain = pc.and_(found.column("is_usual"), pc.is_in(found.column("key"), normal.drop_null()))
    plain = found.drop_columns("is_usual")
    if pc.all(is_plain).as_py():
        return plain.append_column("is_header", pa.repeat(True, plain.num_rows)), _readings({})
    plain = plain.filter(is_plain)
    plain = plain.append_column("is_header", pa.repeat(True, plain.num_rows))
    odd = batch.filter(pc.is_in(batch.column("key"), found.column("key").filter(pc.invert(is_plain))))
    keys, texts = (odd.column(name).to_pylist() for name in ("key", "content"))
    readings = {key: reading for key, text in zip(keys, texts, strict=True) if (reading := _reading(text))}
    typed = [readings[key].typed if key in readings else None for key in keys]
    content = batch.schema.field("content")
    place = batch.schema.get_field_index("content")
    normalised = odd.set_column(place, content, pa.array(typed, content.type))
    rows = extractor.run("normalised", _headers_sql()["normalised"], normalised)
    rows = rows.append_column("is_header", pc.is_in(rows.column("key"), pa.array(list(readings), pa.string())))
    return pa.concat_tables([plain, rows]), _readings({key: reading.text for key, reading in readings.items()})


def _reading(text: str | None) -> normalising.Reading | None:
    """The header in normal form; None where it is none."""
    from warehouse.dicom import normalising

    try:
        return None if text is None else normalising.normalise(text)
    except (UnreadableError, ValueError):
        return None


def _readings(changed: dict[str, str]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {"key": pa.array(list(changed), pa.string()), "reading": pa.array([*changed.values()], pa.string())}
    )


@cache
def _headers_sql() -> dict[str, str]:
    """The statements of sql/extract/headers.sql, filled."""
    holes = {
        **columns.statement_parts(),
        "rules": sql_files.literal(normal_form.digest()),
    }
    return {name: sql_files.fill(text, **holes) for name, text in sql_files.statements("extract/headers.sql").items()}


def extract_records(extractor: Extractor, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows of core.clinical with `is_record` (false: no JSON object), and rows of core.clinical_issues, unordered."""
    import polars as pl
    import pyarrow as pa

    numbered = _bounded(batch).append_column("row", pa.array(range(batch.num_rows), pa.uint32()))
    sql = _records_sql()
    con = extractor.con
    con.register("files", _cut(numbered))
    objects = con.execute(sql["records"]).to_arrow_table()
    _check_fields(objects)
    con.register("valid", _cut(objects.filter(objects.column("is_record")).select(["row", "content", "keys"])))
    objects = objects.drop_columns(["content", "keys"])
    cleaned = cleaning.clean(
        cleaning.Parts(
            _polars(objects.select(["row", "available_date"])),
            *(_polars(con.execute(sql[name]).to_arrow_table()) for name in ("values", "swabs", "oddities")),
        )
    )
    typed = _polars(objects).join(cleaned.columns, on="row")
    issues = cleaned.issues.join(typed.select("row", *_OF_ISSUES), on="row").drop("row")
    return typed.drop("row").to_arrow(compat_level=pl.CompatLevel.oldest()), issues.to_arrow(
        compat_level=pl.CompatLevel.oldest()
    )


#: Names of fields in a batch of records: of usual ones a unit has half of them.
_MOST_FIELDS = 1_000_000


def _check_fields(objects: pa.Table) -> None:
    """MemoryError for a batch that would take too much when taken apart; its halves are tried then."""
    import pyarrow.compute as pc

    lists = pc.list_flatten(objects.filter(objects.column("is_record")).column("keys"))
    if objects.num_rows > 1 and (pc.sum(pc.list_value_length(lists)).as_py() or 0) > _MOST_FIELDS:
        raise MemoryError


def _bounded(batch: pa.Table) -> pa.Table:
    """The batch without the texts of large files that are beyond the limits of a record: these are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    content = batch.column("content")
    large = pc.indices_nonzero(pc.greater(pc.fill_null(pc.binary_length(content), 0), limits.QUICK_BYTES)).to_pylist()
    if not large:
        return batch
    texts = content.to_pylist()
    for place in large:
        try:
            limits.check_size(texts[place])
        except (UnreadableError, ValueError, RecursionError):
            texts[place] = None
    place = batch.schema.get_field_index("content")
    return batch.set_column(place, batch.schema.field(place), pa.array(texts, content.type))


def kinds(extractor: Extractor, texts: list[str]) -> list[str | None]:
    """Whether clinical files of the dated layout are `data` or `status`; None for what is no record."""
    import pyarrow as pa

    nothing = pa.nulls(len(texts), pa.string())
    files = {"row": pa.array(range(len(texts)), pa.uint32()), "record": nothing, "kind": nothing}
    extractor.con.register("files", _cut(pa.table({**files, "content": pa.array(texts, pa.string())})))
    found = extractor.con.execute(_records_sql()["records"]).to_arrow_table().sort_by("row").to_pylist()
    return [row["kind"] if row["is_record"] else None for row in found]


#: What an issue has from its record.
_OF_ISSUES = ("source", "key", "group_name", "patient_id", "available_date", "submitting_centre", "centre")


def _polars(table: pa.Table) -> pl.DataFrame:
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


@cache
def _records_sql() -> dict[str, str]:
    """The statements of sql/extract/records.sql, filled from the column table."""
    fields = tables.fields()
    pointers = ["/" + f.key.replace("~", "~0").replace("/", "~1") for f in fields]
    outer = f"/{tables.NESTED}"
    nested = f"{outer}/{tables.SEGMENTATION}"
    known = [f.key for f in fields]
    holes = {
        "pointers": _list(pointers),
        "nested_pointers": _list([nested + pointer for pointer in pointers]),
        "objects": _list(["", outer, nested]),
        "number": str(len(fields)),
        "most_fields": str(limits.most_fields()),
        "swab_places": str(list(tables.swab_places().values())),
        "known_fields": _list([*known, tables.NESTED]),
        "nested_fields": _list(known),
        **{f"{kind}_fields": _list([f.key for f in fields if f.column.applies_to == kind]) for kind in _KINDS},
    }
    return {name: sql_files.fill(text, **holes) for name, text in sql_files.statements("extract/records.sql").items()}


_KINDS = ("negative", "positive")


def _list(texts: list[str]) -> str:
    return "[" + ", ".join(map(sql_files.literal, texts)) + "]"


def _cut(batch: pa.Table) -> pa.Table:
    """The batch in pieces of a DuckDB vector."""
    import pyarrow as pa

    return pa.Table.from_batches(batch.combine_chunks().to_batches(max_chunksize=_VECTOR), batch.schema)
