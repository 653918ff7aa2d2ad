"""The second layer: the plan that DuckDB binds.

Known operators only, no place but the views' own, and each scan of the lake lies beneath the very filter of as-of date
and group that the views put there, and beneath the shield that no filter of the query is moved through.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import duckdb

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

#: What a bound plan may be made of.
_OPERATORS = split_words(
    "AGGREGATE ANY_JOIN ASOF_JOIN COMPARISON_JOIN CROSS_PRODUCT CTE CTE_SCAN DELIM_GET DELIM_JOIN DEPENDENT_JOIN "
    "DISTINCT DUMMY_SCAN EMPTY_RESULT EXCEPT EXPRESSION_GET FILTER GENERATE_SERIES INTERSECT JSON_EACH JSON_TREE LIMIT "
    "MATERIALIZED_CTE ORDER_BY PIVOT POSITIONAL_JOIN PROJECTION RANGE REC_CTE SAMPLE TOP_N UNION UNNEST WINDOW"
)
_LAKE_SCAN = "DUCKLAKE_SCAN"

_EXPLAIN = "explain (format json) "

#: The tables of the lake that views are made of, and the view that cuts each by as-of date and group.
_CUT_BY = {
    "images": "images",
    "headers": "headers",
    "clinical": "clinical_history",
    "clinical_issues": "clinical_issues",
}
#: A table that everybody may know: DICOM's dictionary, for tag().
_OPEN_TABLES = frozenset(("dicom_attributes",))

#: The places that a relation may be named with; no table of the lake, nor its catalogue, is in one of them.
_PLACES = PLACES | {("", "recurring")}


def check_plan(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    relations: Collection[str] = (),
) -> None:
    """The second layer by itself: what DuckDB understood. UsageError where it cannot make sense of the query."""
    try:
        shield_views(con, check_places(con, sql))
        check_scans(con, sql, params, relations=relations)
    except RecursionError:
        raise UntrustedSqlError(TOO_DEEP) from None


def check_places(con: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """Refuse a query that names a place other than that of the views, or calls what makes a query of a text.

    Returns what it names without a place, folded: views, and steps of its own.

    A plan has the names of columns alone, and those can be given anew (`core.images as t(…)`) or be those of another
    relation (a subquery's of the row around it): a filter of the right words may be about something else.
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
                    raise UntrustedSqlError(f"The query names {where}, no place of a view.")
                named.add(fold_name(node.get("table_name", "")))
            if node.get("type") == "TABLE_FUNCTION":
                name = fold_name(node["function"].get("function_name", ""))
                if name not in TABLE_FUNCTIONS:
                    raise UntrustedSqlError(f"The query calls {name}(), which untrusted SQL may not do.")
    return named


def check_scans(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    relations: Collection[str] = (),
) -> None:
    """Refuse a query whose plan has other operators, or a scan beneath another filter, than asking the views makes."""
    try:
        plan = _fetch_bound_plan(con, sql, params)
    except duckdb.Error as error:
        if is_too_deep(str(error)):
            raise UntrustedSqlError(TOO_DEEP) from None
        raise UsageError(f"The query cannot be answered. {_strip_preamble(clean_message(error))}") from None
    ours = {f'"temp".main.{name}' for name in relations}
    scans: dict[str, list[str]] = {}
    for node, above, is_shielded in _walk_operators(plan):
        name = node["name"].strip()
        table = node["extra_info"].get("Table", "") if isinstance(node["extra_info"], dict) else ""
        if name == _LAKE_SCAN and (table in _CUT_BY or table in _OPEN_TABLES):
            if table not in _OPEN_TABLES:
                scans.setdefault(table, []).append(json.dumps(above) if is_shielded else "")
        elif not (name in _OPERATORS or (name == "SEQ_SCAN" and table in ours)):
            what = f"{name} of {table}" if table else name
            raise UntrustedSqlError(f"The query comes to {what}, which untrusted SQL may not do.")
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
            raise UntrustedSqlError(f"The query reads {table} past the as-of date or the group that were asked for.")


def _fetch_bound_plan(con: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, object] | None = None) -> Any:
    """DuckDB's plan of a query as it was bound, before any optimisation. RecursionError for too deep a one."""
    explained = con.extract_statements(f"{_EXPLAIN}{sql}")
    if len(explained) != 1:
        raise UntrustedSqlError(f"Give one query, not {len(explained)}.")
    done = con.execute(explained[0], dict(params)) if params else con.execute(explained[0])
    rows = dict(done.fetchall())
    return json.loads(rows["logical_plan"])


def _strip_preamble(message: str) -> str:
    """DuckDB's message without what was put before the query; the mark below the line moves along."""
    before, found, after = message.partition(f"LINE 1: {_EXPLAIN}")
    line, end, mark = after.partition("\n")
    return f"{before}LINE 1: {line}{end}{mark.removeprefix(' ' * len(_EXPLAIN))}" if found else message


def _walk_operators(plan: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None, bool]]:
    """Every operator of a plan, each with the nearest filter above it, and whether a shield is above that."""
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
