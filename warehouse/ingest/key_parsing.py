"""Parses the new keys of a listing in SQL, by the layout of their source, into the temporary table `parsed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.ingest import key_ranges
from warehouse.object_store import keys, layouts

if TYPE_CHECKING:
    import duckdb

    from warehouse.ingest.key_ranges import KeyRange
    from warehouse.object_store.layouts import Layout


def parse_keys(con: duckdb.DuckDBPyConnection, source: str, layout: Layout) -> list[KeyRange]:
    """Parse the keys of `changes` that are not removed: key, size, etag and last_modified as listed, `change`, and
    old_kind and patient_id as the lake knows them.

    Returns the ranges of keys that `changes` is divided into; `part` of a row is the number of its range.
    """
    ranges = key_ranges.find_changed_ranges(con)
    number = key_ranges.render_number(ranges, "key")
    parameters: dict[str, Any] = {"source": source}
    if layout.is_standard:
        statement = sql_files.read_statements("ingest/listing.sql")["parsed"]
        statement = sql_files.fill(statement, part=number, **render_pattern_names())
        con.execute(statement, parameters | {"dated": keys.DATED, "published": keys.PUBLISHED})
        if layout.reads_dcm:
            con.execute(sql_files.read_statements("ingest/layouts.sql")["keep_headers"])
        return ranges
    statement = sql_files.fill(
        sql_files.read_statements("ingest/layouts.sql")["parsed"],
        part=number,
        names_in_key=_render_names(layout),
    )
    given = {"pattern": layout.pattern, "group": layout.find_group(source), **layouts.PATTERNS}
    con.execute(statement, parameters | given)
    return ranges


def render_pattern_names() -> dict[str, str]:
    """Render the named groups of the standard layouts' patterns for regexp_extract."""
    return {
        "dated_names": ", ".join(f"'{name}'" for name in keys.list_group_names(keys.DATED)),
        "published_names": ", ".join(f"'{name}'" for name in keys.list_group_names(keys.PUBLISHED)),
    }


def _render_names(layout: Layout) -> str:
    """Expressions for what a pattern names, '' for what it does not: `named_patient` and so on."""
    numbers = layout.groups
    return ", ".join(
        f"regexp_extract(key, '^(?:' || $pattern || ')$', {numbers[name]}) as named_{name}"
        if name in numbers
        else f"'' as named_{name}"
        for name in layouts.NAMES
    )
