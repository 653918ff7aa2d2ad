"""The first layer of the sandbox: checks the syntax tree of the parser that will run the query.

Allowed is one SELECT over the public views and its own CTEs, with the functions of sql/sandbox/functions.csv. All node
types are on an allowlist; any other is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from warehouse.catalog import columns
from warehouse.engine import query_text, sql_files
from warehouse.engine.functions import list_functions
from warehouse.engine.messages import clean_message
from warehouse.engine.names import fold_name
from warehouse.engine.rows import fetch_first
from warehouse.errors import UntrustedSqlError, UsageError
from warehouse.lake import store


def split_words(words: str) -> frozenset[str]:
    """Split a text into a set of words."""
    return frozenset(words.split())


#: Table functions allowed in FROM.
TABLE_FUNCTIONS = frozenset(("unnest", "range", "generate_series", "json_each", "json_tree", "known_at"))

#: Catalogue and schema that a public view may be named with: unqualified only, so that the shield applies (shield.py).
PLACES = frozenset((("", ""),))

#: Qualifications that mean the view; the message suggests the unqualified name.
_SHORTER = frozenset((("", "main"), ("", store.ALIAS), (store.ALIAS, "main")))

#: The allowed nodes of a parsed query, by `class` (expressions) and `type` (all others) of DuckDB's serialization.
_EXPRESSIONS = split_words(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR PARAMETER "
    "POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW"
)
_NODES = split_words(
    "SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE "
    "BASE_TABLE EMPTY EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION "
    "ORDER_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER DISTINCT_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING"
)

#: The most characters of a query; enough for a list of 50,000 identifiers.
MOST_CHARACTERS = 4_000_000

TOO_DEEP = "The query is nested too deeply. Write it as a sequence of steps (WITH)."

#: Functions that are called without brackets, unless a column has the name.
_BARE_CLOCKS = frozenset(("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"))


@dataclass(frozen=True, slots=True)
class Admitted:
    """An untrusted query that may run on the connection that admitted it, with its views and functions."""

    sql: str
    views: frozenset[str]
    functions: frozenset[str]


@cache
def list_public_views() -> frozenset[str]:
    """List the views that untrusted SQL may read."""
    return frozenset(view.name for view in columns.list_views())


def check_tree(
    con: duckdb.DuckDBPyConnection, sql: str, *, repeatable: bool = False, relations: Collection[str] = ()
) -> Admitted:
    """Run the first layer alone: check the syntax tree."""
    statements = parse_query(con, sql)
    if len(statements) != 1:
        raise UntrustedSqlError(f"Give one query, not {len(statements)}.")
    judge = _QueryValidator(sql, repeatable, {fold_name(name) for name in relations})
    judge.walk(statements[0]["node"])
    return Admitted(sql, frozenset(judge.views), frozenset(judge.called))


def parse_query(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """Parse a text into the trees of its SELECTs, without running anything, not even a PRAGMA that runs when parsed."""
    query_text.check_query_text(sql)
    if len(sql) > MOST_CHARACTERS:
        raise UntrustedSqlError(f"The query has {len(sql):,} characters; the limit is {MOST_CHARACTERS:,}. Shorten it.")
    # A literal, because a parameter would make DuckDB import pandas.
    found = fetch_first(
        con.execute(f"select json_serialize_sql({sql_files.literal(sql)}, skip_default := true, skip_null := true)")
    )
    assert found
    try:
        tree = json.loads(found[0])
    except RecursionError:
        raise UntrustedSqlError(TOO_DEEP) from None
    if not tree["error"]:
        return list(tree["statements"])
    if tree["error_type"] == "not implemented":
        hint = " A PIVOT must name its values: on sex in ('F', 'M')." if "pivot" in sql.lower() else ""
        raise UntrustedSqlError(f"Only one SELECT is allowed here.{hint}")
    if is_too_deep(tree["error_message"]):
        raise UntrustedSqlError(TOO_DEEP)
    try:
        con.extract_statements(sql)
    except duckdb.Error as error:  # the same error, with its position
        raise UsageError(f"The query cannot be read. {clean_message(error)}") from None
    raise UntrustedSqlError(f"The query is not valid. {tree['error_message']}")


def is_too_deep(message: str) -> bool:
    """Whether an error of DuckDB is about nesting."""
    return "Max expression depth" in message or "memory exhausted" in message


def locate_relation(node: dict[str, Any]) -> tuple[str, str]:
    """The catalogue and schema that qualify a relation of a parsed query, folded; "" if absent."""
    return fold_name(node.get("catalog_name", "")), fold_name(node.get("schema_name", ""))


class _QueryValidator:
    """Walks a parsed query and refuses the first node that is not on the allowlist."""

    def __init__(self, sql: str, repeatable: bool, relations: Collection[str]) -> None:
        self.text = sql.encode()
        self.repeatable = repeatable
        self.relations = relations
        self.views: set[str] = set()
        self.called: set[str] = set()
        #: Nodes still to check, with the CTEs that are visible there.
        self.ahead: list[tuple[Any, frozenset[str]]] = []

    def walk(self, node: Any) -> None:
        self.ahead.append((node, frozenset()))
        while self.ahead:
            node, ctes = self.ahead.pop()
            if isinstance(node, list):
                self.ahead.extend((item, ctes) for item in node)
            elif isinstance(node, dict):
                self.check_node(node, ctes)

    def check_node(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        if node.get("class") == "CONSTANT":
            return  # a constant cannot run anything
        if "class" in node:
            self.check_expression(node)
        elif "type" in node:
            self.check_clause(node, ctes)
        if "cte_map" in node:
            ctes = self.check_with(node["cte_map"], ctes)
        # The recursive part sees its own CTE; the initial part does not.
        own = {fold_name(node["cte_name"])} if node.get("type") == "RECURSIVE_CTE_NODE" else set()
        for name, below in node.items():
            if name != "cte_map":
                self.ahead.append((below, ctes | own if name == "right" else ctes))

    def check_expression(self, node: dict[str, Any]) -> None:
        kind = node["class"]
        if kind not in _EXPRESSIONS:
            raise self.to_error(node, f"{_to_words(kind)} is not allowed in untrusted SQL.")
        if kind in ("FUNCTION", "WINDOW"):
            self.check_function(node)
        elif kind == "COLUMN_REF":
            self.check_column(node)

    def check_clause(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        kind = node["type"]
        if isinstance(kind, dict):
            return  # the type of a value or of a cast, checked separately
        if kind not in _NODES and not kind.endswith("_TYPE_INFO"):
            raise self.to_error(node, f"{_to_words(kind)} is not allowed in untrusted SQL.")
        if kind == "BASE_TABLE":
            self.check_relation(node, ctes)
        elif kind == "TABLE_FUNCTION":
            self.check_table_function(node)
        elif kind == "SHOW_REF":
            self.check_show(node)
        if "at_clause" in node:
            raise self.to_error(node, "AT is not allowed in untrusted SQL: use --snapshot.")
        if "sample" in node and self.repeatable:
            raise self.to_error(node, "A sample is not deterministic.")

    def check_show(self, node: dict[str, Any]) -> None:
        """SUMMARIZE reads rows; DESCRIBE and SHOW read the catalogue."""
        if node.get("show_type") != "SUMMARY" or "query" not in node:
            raise self.to_error(
                node, "DESCRIBE and SHOW are not allowed in untrusted SQL. Views and columns:  chest describe"
            )
        if self.repeatable:
            raise self.to_error(node, "SUMMARIZE is not deterministic: it samples quantiles.")

    def check_with(self, clause: dict[str, Any], ctes: frozenset[str]) -> frozenset[str]:
        """Each CTE sees those before it; the query after them sees all."""
        for entry in clause.get("map", ()):
            self.ahead.append((entry["value"], ctes))
            ctes |= {fold_name(entry["key"])}
        return ctes

    def check_relation(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        name = fold_name(node["table_name"])
        place = locate_relation(node)
        if place == ("", "") and (name in ctes or name in self.relations):
            return
        if place == ("", "recurring") and name in ctes:
            return
        if place in PLACES and name in list_public_views():
            self.views.add(name)
            return
        shown = ".".join(filter(None, (*place, node["table_name"])))
        if place in _SHORTER and name in list_public_views():
            raise self.to_error(node, f"Write {name} instead of {shown}: untrusted SQL names views without a schema.")
        raise self.to_error(
            node,
            f"{shown} is not a view; untrusted SQL can read only the views{_suggest(name, list_public_views())}.",
        )

    def check_table_function(self, node: dict[str, Any]) -> None:
        called = node["function"]
        name = fold_name(called.get("function_name", ""))
        if name not in TABLE_FUNCTIONS:
            raise self.to_error(node, f"{name}() is not allowed in untrusted SQL: it can read only the views.")

    def check_function(self, node: dict[str, Any]) -> None:
        name = fold_name(node["function_name"])
        if name not in list_functions():
            raise self.to_error(
                node, f"The function {name}() is not allowed in untrusted SQL{_suggest(name, list_functions())}."
            )
        if self.repeatable and (not list_functions()[name] or (name == "age" and len(node.get("children", ())) != 2)):
            raise self.to_error(node, f"{name}() is not deterministic.")
        self.called.add(name)

    def check_column(self, node: dict[str, Any]) -> None:
        names = node.get("column_names", ())
        if self.repeatable and len(names) == 1 and fold_name(names[0]) in _BARE_CLOCKS:
            raise self.to_error(node, f"{names[0]} is not deterministic.")

    def to_error(self, node: dict[str, Any], why: str) -> UntrustedSqlError:
        at = node.get("query_location")
        return UntrustedSqlError(why, None if at is None else self.text[:at].count(b"\n") + 1)


def _to_words(kind: str) -> str:
    return kind.replace("_", " ")


def _suggest(name: str, names: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
