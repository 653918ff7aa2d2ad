"""Extracts clinical records to cleaned rows of core.clinical, and their issues."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from warehouse import cleaning
from warehouse.cleaning import limits, tables
from warehouse.engine import placeholders, sql_files
from warehouse.errors import UnreadableError
from warehouse.ingest import unstorable
from warehouse.ingest.extraction import Extractor, cut_batch

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


#: The most field names in a batch of records; a usual unit has half as many.
_MOST_FIELDS = 1_000_000
#: Columns that an issue has from its record.
_OF_ISSUES = ("source", "key", "group_name", "patient_id", "available_date", "submitting_centre", "centre")
_KINDS = ("negative", "positive")


def extract_records(extractor: Extractor, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Extract rows of core.clinical, with `is_record` (false if not a JSON object, or if it cannot be stored), and of
    core.clinical_issues."""
    import polars as pl
    import pyarrow as pa

    numbered = _replace_nuls(_drop_oversized(batch)).append_column("row", pa.array(range(batch.num_rows), pa.uint32()))
    sql = _read_records_sql()
    con = extractor.con
    con.register("files", cut_batch(numbered))
    objects = con.execute(sql["records"]).to_arrow_table()
    _check_fields(objects)
    con.register("valid", cut_batch(objects.filter(objects.column("is_record")).select(["row", "content", "keys"])))
    objects = objects.drop_columns(["content", "keys"])
    cleaned = cleaning.clean(
        cleaning.Parts(
            _to_polars(objects.select(["row", "available_date"])),
            *(_to_polars(con.execute(sql[name]).to_arrow_table()) for name in ("values", "swabs", "oddities")),
        )
    )
    typed = _to_polars(objects).join(cleaned.columns, on="row")
    issues = cleaned.issues.join(typed.select("row", *_OF_ISSUES), on="row").drop("row")
    rows, odd = (frame.to_arrow(compat_level=pl.CompatLevel.oldest()) for frame in (typed.drop("row"), issues))
    rows, names = unstorable.clear_flags(rows, "is_record", odd, batch.select(["source", "key", "content"]))
    return rows, unstorable.drop_objects(odd, names)


def _check_fields(objects: pa.Table) -> None:
    """Raise MemoryError for a batch that would need too much memory; its halves are then tried."""
    import pyarrow.compute as pc

    lists = pc.list_flatten(objects.filter(objects.column("is_record")).column("keys"))
    if objects.num_rows > 1 and (pc.sum(pc.list_value_length(lists)).as_py() or 0) > _MOST_FIELDS:
        raise MemoryError


def _replace_nuls(batch: pa.Table) -> pa.Table:
    """The batch with another character for each NUL in a text: it could not be compared safely."""
    import pyarrow as pa
    import pyarrow.compute as pc

    content = batch.column("content")
    if not pc.any(pc.match_substring(content, "\\u0000")).as_py():
        return batch
    texts = [text and placeholders.replace_nuls(text) for text in content.to_pylist()]
    place = batch.schema.get_field_index("content")
    return batch.set_column(place, batch.schema.field(place), pa.array(texts, content.type))


def _drop_oversized(batch: pa.Table) -> pa.Table:
    """The batch without the texts of files that exceed the limits of a record."""
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


def find_kinds(extractor: Extractor, texts: list[str]) -> list[str | None]:
    """Find whether clinical files of the dated layout are `data` or `status`; None if they are not records."""
    import pyarrow as pa

    nothing = pa.nulls(len(texts), pa.string())
    files = {"row": pa.array(range(len(texts)), pa.uint32()), "record": nothing, "kind": nothing}
    extractor.con.register("files", cut_batch(pa.table({**files, "content": pa.array(texts, pa.string())})))
    found = extractor.con.execute(_read_records_sql()["records"]).to_arrow_table().sort_by("row").to_pylist()
    return [row["kind"] if row["is_record"] else None for row in found]


def _to_polars(table: pa.Table) -> pl.DataFrame:
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


@cache
def _read_records_sql() -> dict[str, str]:
    """Render the statements of sql/extract/records.sql from the column table."""
    fields = tables.list_fields()
    pointers = ["/" + f.key.replace("~", "~0").replace("/", "~1") for f in fields]
    outer = f"/{tables.NESTED}"
    nested = f"{outer}/{tables.SEGMENTATION}"
    known = [f.key for f in fields]
    holes = {
        "pointers": _render_list(pointers),
        "nested_pointers": _render_list([nested + pointer for pointer in pointers]),
        "objects": _render_list(["", outer, nested]),
        "number": str(len(fields)),
        "most_fields": str(limits.max_fields()),
        "swab_places": str(list(tables.map_swab_keys().values())),
        "known_fields": _render_list([*known, tables.NESTED]),
        "nested_fields": _render_list(known),
        **{f"{kind}_fields": _render_list([f.key for f in fields if f.column.applies_to == kind]) for kind in _KINDS},
    }
    return {
        name: sql_files.fill(text, **holes) for name, text in sql_files.read_statements("extract/records.sql").items()
    }


def _render_list(texts: list[str]) -> str:
    return "[" + ", ".join(map(sql_files.literal, texts)) + "]"
