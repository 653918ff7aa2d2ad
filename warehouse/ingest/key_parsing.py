"""Parses the new keys of a listing in SQL, by the layout of their source, into the temporary table `parsed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.object_store import keys, layouts

if TYPE_CHECKING:
    import duckdb

    from warehouse.object_store.layouts import Layout


def parse_keys(con: duckdb.DuckDBPyConnection, source: str, layout: Layout, *, is_known: bool = True) -> None:
    """Parse the keys of `listing` that are in `changes`; `is_known` if `changes` has what the lake knows of them."""
    parameters: dict[str, Any] = {"source": source}
    if layout.is_standard:
        statement = sql_files.fill(sql_files.read_statements("ingest/listing.sql")["parsed"], **render_pattern_names())
        con.execute(statement, parameters | {"dated": keys.DATED, "published": keys.PUBLISHED})
        if layout.reads_dcm and is_known:
            con.execute(sql_files.read_statements("ingest/layouts.sql")["keep_headers"])
        return
    statement = sql_files.fill(
        sql_files.read_statements("ingest/layouts.sql")["parsed"],
        names_in_key=_render_names(layout),
        former_patient="patient_id" if is_known else "cast(null as varchar)",
    )
    given = {"pattern": layout.pattern, "group": layout.find_group(source), **layouts.PATTERNS}
    con.execute(statement, parameters | given)


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
        f"regexp_extract(listing.key, '^(?:' || $pattern || ')$', {numbers[name]}) as named_{name}"
        if name in numbers
        else f"'' as named_{name}"
        for name in layouts.NAMES
    )
