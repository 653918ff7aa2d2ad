"""The sandbox for untrusted SQL: a query that somebody else wrote can read the public views and nothing else.

It has three independent layers (docs/architecture.md, "Untrusted SQL"):

1. `tree`: the syntax tree of DuckDB's own parser.
2. `plan`: the plan that DuckDB binds.
3. `hardening`: a connection with no files except the lake's, no network, no extensions and locked settings.

Time and memory are limited by warehouse/engine/limits.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import duckdb

from warehouse.engine.functions import list_functions
from warehouse.query.sandbox.hardening import MOST_DEPTH, harden_connection
from warehouse.query.sandbox.plan import check_plan
from warehouse.query.sandbox.tree import (
    TOO_DEEP,
    Admitted,
    check_tree,
    is_too_deep,
    list_public_views,
    parse_query,
)

__all__ = [
    "MOST_DEPTH",
    "TOO_DEEP",
    "Admitted",
    "admit_query",
    "check_plan",
    "check_tree",
    "harden_connection",
    "is_too_deep",
    "list_functions",
    "list_public_views",
    "parse_query",
]


def admit_query(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    repeatable: bool = False,
    relations: Collection[str] = (),
) -> Admitted:
    """Admit an untrusted query; UntrustedSqlError with the line and the reason, UsageError if it is not valid SQL.

    `con` must have been hardened by `harden_connection`. `repeatable` also forbids anything not deterministic (random,
    now, samples). `relations` names our temporary tables that the query may read in addition to the views.
    """
    admitted = check_tree(con, sql, repeatable=repeatable, relations=relations)
    check_plan(con, sql, params, relations=relations)
    return admitted
