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
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse import cleaning, columns, spill, sqlfiles
from warehouse.cleaning import tables

if TYPE_CHECKING:
    import polars as pl
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
        self._batch.table = _cut(batch)
        if self._prepared.get(name) != batch.schema:
            self.con.register("batch", self._batch)
            self.con.execute(f"prepare {name} as {query}")
            self._prepared[name] = batch.schema
        return self.con.execute(f"execute {name}").to_arrow_table()


@contextlib.contextmanager
def connection() -> Iterator[Extractor]:
    """An extractor: in memory, one thread, with the macros that the extraction uses."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": "200MB",
        "temp_directory": spill.folder(),
    }
    with duckdb.connect(config=config) as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute(sqlfiles.read("extract/macros.sql"))
        yield Extractor(con)


def headers(extractor: Extractor, batch: "pa.Table") -> "pa.Table":
    """Rows of core.images, and `is_header` (false: no DICOM header, its attributes are null); in any order."""
    return extractor.run("headers", columns.header_extraction(), batch)


def records(extractor: Extractor, batch: "pa.Table") -> "tuple[pa.Table, pa.Table]":
    """Rows of core.clinical with `is_record` (false: no JSON object), and rows of core.clinical_issues, unordered."""
    import polars as pl
    import pyarrow as pa

    numbered = batch.append_column("row", pa.array(range(batch.num_rows), pa.uint32()))
    sql = _records_sql()
    con = extractor.con
    con.register("files", _cut(numbered))
    objects = con.execute(sql["records"]).to_arrow_table()
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


def _polars(table: "pa.Table") -> "pl.DataFrame":
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
        "swab_places": str(list(tables.swab_places().values())),
        "known_fields": _list([*known, tables.NESTED]),
        "nested_fields": _list(known),
        **{f"{kind}_fields": _list([f.key for f in fields if f.column.applies_to == kind]) for kind in _KINDS},
    }
    return {name: sqlfiles.fill(text, **holes) for name, text in sqlfiles.statements("extract/records.sql").items()}


_KINDS = ("negative", "positive")


def _list(texts: list[str]) -> str:
    return "[" + ", ".join(map(sqlfiles.literal, texts)) + "]"


def _cut(batch: "pa.Table") -> "pa.Table":
    """The batch in pieces of a DuckDB vector."""
    import pyarrow as pa

    return pa.Table.from_batches(batch.combine_chunks().to_batches(max_chunksize=_VECTOR), batch.schema)
