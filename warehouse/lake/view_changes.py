"""Finds the views whose answers may have changed, from DuckLake's own record of changes, without a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.catalog import public_views, view_lineage
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location

_SQL = "reports/changes.sql"


def find_changed_views(
    con: duckdb.DuckDBPyConnection, location: Location, since: int | None, until: int
) -> tuple[str, ...]:
    """The views whose tables, or whose own text, changed in the snapshots after `since`, up to `until`.

    All views if that is unknown: without `since`, or if the lake no longer has that snapshot.
    """
    row = fetch_first(con.execute(sql_files.read_statements(_SQL)["oldest"]))
    if since is None or not row or not row[0] <= since <= until:
        return public_views.VIEW_ORDER
    schema_name = sql_files.identifier(location.schema if location.is_postgres else "main")
    query = sql_files.fill(sql_files.read_statements(_SQL)["changed"], schema=schema_name)
    changed = {name for (name,) in con.execute(query, {"since": since, "until": until}).fetchall()}
    found: set[str] = set()
    for view in public_views.VIEW_ORDER:  # each after those that it reads
        if (
            view in changed
            or view_lineage.find_tables_below(view) & changed
            or found & set(view_lineage.find_relations_read(view))
        ):
            found.add(view)
    return tuple(view for view in public_views.VIEW_ORDER if view in found)
