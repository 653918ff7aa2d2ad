"""Extracts headers to rows of core.images, parsing the DICOM JSON of each once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog import columns
from warehouse.dicom import normal_form
from warehouse.engine import placeholders, sql_files
from warehouse.errors import UnreadableError
from warehouse.ingest import unstorable
from warehouse.ingest.extraction import Extractor

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.dicom import normalising


def extract_headers(extractor: Extractor, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Extract rows of core.images, with `is_header` (false if it is not a DICOM header, of which attributes are null,
    or cannot be stored); in any order.

    Also returns the `key` and `reading` of headers that are not in normal form: the normalised text that readers use.
    """
    rows, readings = _extract(extractor, batch)
    return unstorable.clear_flags(rows, "is_header", batch.select(["source", "key", "content"]))[0], readings


def _extract(extractor: Extractor, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = extractor.extract_rows("headers", _read_headers_sql()["headers"], batch)
    normal = pc.if_else(normal_form.matches_form(batch.column("content")), batch.column("key"), None)
    is_plain = pc.and_(found.column("is_usual"), pc.is_in(found.column("key"), normal.drop_null()))
    plain = found.drop_columns("is_usual")
    if pc.all(is_plain).as_py():
        return plain.append_column("is_header", pa.repeat(True, plain.num_rows)), _to_table({})
    plain = plain.filter(is_plain)
    plain = plain.append_column("is_header", pa.repeat(True, plain.num_rows))
    odd = batch.filter(pc.is_in(batch.column("key"), found.column("key").filter(pc.invert(is_plain))))
    keys, texts = (odd.column(name).to_pylist() for name in ("key", "content"))
    readings = {key: reading for key, text in zip(keys, texts, strict=True) if (reading := _read_header(text))}
    typed = [readings[key].typed if key in readings else None for key in keys]
    content = batch.schema.field("content")
    place = batch.schema.get_field_index("content")
    normalised = odd.set_column(place, content, pa.array(typed, content.type))
    rows = extractor.extract_rows("normalised", _read_headers_sql()["normalised"], normalised)
    rows = rows.append_column("is_header", pc.is_in(rows.column("key"), pa.array(list(readings), pa.string())))
    return pa.concat_tables([plain, rows]), _to_table({key: reading.text for key, reading in readings.items()})


def _read_header(text: str | None) -> normalising.Reading | None:
    """The header in normal form; None if it is not a header, or cannot be stored."""
    from warehouse.dicom import normalising

    try:
        reading = None if text is None else normalising.normalise(text)
    except (UnreadableError, ValueError):
        return None
    return None if reading is None or placeholders.has_placeholder(reading.text) else reading


def _to_table(changed: dict[str, str]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {"key": pa.array(list(changed), pa.string()), "reading": pa.array([*changed.values()], pa.string())}
    )


@cache
def _read_headers_sql() -> dict[str, str]:
    """Render the statements of sql/extract/headers.sql."""
    holes = {
        **columns.statement_parts(),
        "rules": sql_files.literal(normal_form.compute_rules_digest()),
    }
    return {
        name: sql_files.fill(text, **holes) for name, text in sql_files.read_statements("extract/headers.sql").items()
    }
