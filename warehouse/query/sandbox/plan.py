"""The second layer of the sandbox: checks the plan that DuckDB binds.

The plan may have only known operators and only the views' schemas. Each scan of the lake must be beneath the views' own
filter on as-of date and group, and beneath the shield, through which no filter of the query is pushed down.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.messages import clean_message
from warehouse.engine.names import fold_name
from warehouse.errors import UntrustedSqlError, UsageError
from warehouse.lake import store
from warehouse.query.sandbox.shield import SHIELD, shield_views
from warehouse.query.sandbox.tree import (
    PLACES,
    TABLE_FUNCTIONS,
    TOO_DEEP,
    is_too_deep,
    locate_relation,
    parse_query,
    split_words,
)

#: The operators that a bound plan may have.
_OPERATORS = split_words(
    "AGGREGATE ANY_JOIN ASOF_JOIN COMPARISON_JOIN CROSS_PRODUCT CTE CTE_SCAN DELIM_GET DELIM_JOIN DEPENDENT_JOIN "
    "DISTINCT DUMMY_SCAN EMPTY_RESULT EXCEPT EXPRESSION_GET FILTER GENERATE_SERIES INTERSECT JSON_EACH JSON_TREE LIMIT "
    "MATERIALIZED_CTE ORDER_BY PIVOT POSITIONAL_JOIN PROJECTION RANGE REC_CTE SAMPLE TOP_N UNION UNNEST WINDOW"
)
_LAKE_SCAN = "DUCKLAKE_SCAN"

_EXPLAIN = "explain (format json) "

#: The tables of the lake behind the views, and the view that filters each by as-of date and group.
_CUT_BY = {
    "images": "images",
    "headers": "headers",
    "clinical": "clinical_history",
    "clinical_issues": "clinical_issues",
}
#: A table without patient data: the DICOM dictionary, for tag().
_OPEN_TABLES = frozenset(("dicom_attributes",))

#: Catalogue and schema that a relation may be named with; they contain no table of the lake or of its catalogue.
_PLACES = PLACES | {("", "recurring")}


def check_plan(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    relations: Collection[str] = (),
) -> None:
    """Run the second layer alone: check DuckDB's plan. UsageError if DuckDB cannot bind the query."""
    try:
        shield_views(con, check_places(con, sql))
        check_scans(con, sql, params, relations=relations)
    except RecursionError:
        raise UntrustedSqlError(TOO_DEEP) from None


def check_places(con: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """Refuse a query that names a schema other than that of the views, or calls a function that runs text as a query.

    Returns the unqualified names that it reads, folded: views, and steps of its own.

    The plan alone is not enough: it has only the names of columns, which a query can reassign (`core.images as t(…)`)
    or take from another relation (a correlated subquery), so a filter with the right text may be on something else.
    """
    named: set[str] = set()
    ahead: list[Any] = list(parse_query(con, sql))
    while ahead:
        node = ahead.pop()
        if isinstance(node, list):
            ahead.extend(node)
        elif isinstance(node, dict):
            ahead.extend(node.values())
            if node.get("type") == "BASE_TABLE":
                if locate_relation(node) not in _PLACES:
                    where = ".".join(filter(None, locate_relation(node)))
                    raise UntrustedSqlError(f"The query reads {where}, which is not one of the views.")
                named.add(fold_name(node.get("table_name", "")))
            if node.get("type") == "TABLE_FUNCTION":
                name = fold_name(node["function"].get("function_name", ""))
                if name not in TABLE_FUNCTIONS:
                    raise UntrustedSqlError(f"The query calls {name}(), which is not allowed in untrusted SQL.")
    return named


def check_scans(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    relations: Collection[str] = (),
) -> None:
    """Refuse a query whose plan has unknown operators, or a scan without the filter that the views have."""
    try:
        plan = _fetch_bound_plan(con, sql, params)
    except duckdb.Error as error:
        if is_too_deep(str(error)):
            raise UntrustedSqlError(TOO_DEEP) from None
        raise UsageError(f"The query failed. {_strip_preamble(clean_message(error))}") from None
    # DuckDB quotes a name only where it has to.
    ours = {f'"temp".main.{written}' for name in relations for written in (name, sql_files.identifier(name))}
    scans: dict[str, list[str]] = {}
    for node, above, is_shielded in _walk_operators(plan):
        name = node["name"].strip()
        table = node["extra_info"].get("Table", "") if isinstance(node["extra_info"], dict) else ""
        if name == _LAKE_SCAN and (table in _CUT_BY or table in _OPEN_TABLES):
            if table not in _OPEN_TABLES:
                scans.setdefault(table, []).append(json.dumps(above) if is_shielded else "")
        elif not (name in _OPERATORS or (name == "SEQ_SCAN" and table in ours)):
            what = f"{name} of {table}" if table else name
            raise UntrustedSqlError(f"The query plan contains {what}, which is not allowed in untrusted SQL.")
    if not scans:
        return
    views = ", ".join(f"{store.ALIAS}.main.{_CUT_BY[table]}" for table in scans)
    meant = {
        json.dumps(above)
        for node, above, _ in _walk_operators(_fetch_bound_plan(con, f"select 1 from {views}"))
        if not node["children"]
    }
    for table, found in scans.items():
        if not meant.issuperset(found):
            raise UntrustedSqlError(f"The query bypasses the filter on as-of date or group of {table}.")


def _fetch_bound_plan(con: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, object] | None = None) -> Any:
    """Fetch DuckDB's bound plan of a query, before any optimisation. RecursionError if it is nested too deeply."""
    explained = con.extract_statements(f"{_EXPLAIN}{sql}")
    if len(explained) != 1:
        raise UntrustedSqlError(f"Give one query, not {len(explained)}.")
    done = con.execute(explained[0], dict(params)) if params else con.execute(explained[0])
    rows = dict(done.fetchall())
    return json.loads(rows["logical_plan"])


def _strip_preamble(message: str) -> str:
    """Remove our EXPLAIN prefix from DuckDB's message, and shift the caret below the line."""
    before, found, after = message.partition(f"LINE 1: {_EXPLAIN}")
    line, end, mark = after.partition("\n")
    return f"{before}LINE 1: {line}{end}{mark.removeprefix(' ' * len(_EXPLAIN))}" if found else message


def _walk_operators(plan: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None, bool]]:
    """Yield every operator of a plan, with the nearest filter above it, and whether a shield is above that filter."""
    ahead: list[tuple[dict[str, Any], dict[str, Any] | None, bool, bool]] = [
        (node, None, False, False) for node in plan
    ]
    while ahead:
        node, above, is_shielded, has_shield = ahead.pop()
        yield node, above, is_shielded
        if node["name"] == "FILTER":
            above, is_shielded = node, has_shield
        has_shield = has_shield or node["name"] == SHIELD
        ahead.extend((child, above, is_shielded, has_shield) for child in node["children"])
