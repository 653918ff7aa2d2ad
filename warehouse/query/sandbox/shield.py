"""The shield: what untrusted SQL computes comes from rows that as-of date and group let through, and no others."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

import duckdb

from warehouse.engine import sql_files
from warehouse.lake import store
from warehouse.query.sandbox.tree import list_public_views

#: How DuckDB's plans call the operator that no filter is moved through (sql/sandbox/shield.sql).
SHIELD = "SAMPLE"


def shield_views(con: duckdb.DuckDBPyConnection, names: Collection[str]) -> None:
    """Put the shield before those of the names that are public views, on this connection.

    Without it DuckDB may try a filter of the query's on a row that the views do not show: the row is dropped in any
    case, but where the filter fails on it, the error has its value.
    """
    for view in sorted(list_public_views().intersection(names)):
        # A snapshot that has no such view: the query itself says so.
        with contextlib.suppress(duckdb.CatalogException):
            con.execute(
                sql_files.fill(sql_files.read("sandbox/shield.sql"), lake=store.ALIAS, view=sql_files.identifier(view))
            )
