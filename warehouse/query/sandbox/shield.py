"""The shield: untrusted SQL computes only on rows that pass the filter on as-of date and group."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

import duckdb

from warehouse.engine import sql_files
from warehouse.lake import store
from warehouse.query.sandbox.tree import list_public_views

#: The operator in DuckDB's plans that filters are not pushed through (sql/sandbox/shield.sql).
SHIELD = "SAMPLE"


def shield_views(con: duckdb.DuckDBPyConnection, names: Collection[str]) -> None:
    """Shield the public views among the names, on this connection.

    Without it DuckDB may evaluate the query's filter on a row that the views do not show. The row is dropped in any
    case, but if the filter fails on it, the error message contains its value.
    """
    for view in sorted(list_public_views().intersection(names)):
        # If the snapshot does not have the view, the query itself reports it.
        with contextlib.suppress(duckdb.CatalogException):
            con.execute(
                sql_files.fill(sql_files.read("sandbox/shield.sql"), lake=store.ALIAS, view=sql_files.identifier(view))
            )
