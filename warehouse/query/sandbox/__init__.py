"""Untrusted SQL: a query that somebody else wrote may ask the public views and nothing else.

Three layers, each of which stands by itself (docs/architecture.md, "Untrusted SQL"):

1. `tree`: what the text says, by DuckDB's own parser.
2. `plan`: what DuckDB understood.
3. `connection`: no file but the lake's, no network, no extension, no setting to change.

Time and memory are limited by warehouse/engine/limits.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import duckdb

from warehouse.query.sandbox.hardening import MOST_DEPTH, harden_connection
from warehouse.query.sandbox.plan import check_plan
from warehouse.query.sandbox.tree import (
    TOO_DEEP,
    Admitted,
    check_tree,
    is_too_deep,
    list_functions,
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
    """Admit an untrusted query; UntrustedSqlError with the line and the reason, UsageError where DuckDB cannot read it.

    `con` must be one that `harden` was applied to. `repeatable` also forbids what answers otherwise every time
    (random, now, samples). `relations` names temporary tables of ours that it may read besides the views.
    """
    admitted = check_tree(con, sql, repeatable=repeatable, relations=relations)
    check_plan(con, sql, params, relations=relations)
    return admitted
