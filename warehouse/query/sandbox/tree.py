"""The first layer: the parsed tree, by the very parser that will run the query.

One SELECT over the public views and its own CTEs, with functions of sql/sandbox/functions.csv. What the tree may hold
is listed; what is not listed is refused.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from warehouse.catalog import columns
from warehouse.engine import query_text, sql_files
from warehouse.engine.messages import clean_message
from warehouse.engine.names import fold_name
from warehouse.errors import UntrustedSqlError, UsageError
from warehouse.lake import store


def split_words(words: str) -> frozenset[str]:
    """Words, as a set."""
    return frozenset(words.split())


#: Relations beside views and CTEs that FROM may call.
TABLE_FUNCTIONS = frozenset(("unnest", "range", "generate_series", "json_each", "json_tree", "known_at"))

#: The places that a public view may be named with: none, so that it is the one behind the shield (shield.py).
PLACES = frozenset((("", ""),))

#: Where a view is all the same: whoever writes it so is shown the name that will do.
_SHORTER = frozenset((("", "main"), ("", store.ALIAS), (store.ALIAS, "main")))

#: What a parsed query may be made of, by `class` (expressions) and `type` (all other nodes) of DuckDB's serialization.
_EXPRESSIONS = split_words(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR PARAMETER "
    "POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW"
)
_NODES = split_words(
    "SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE "
    "BASE_TABLE EMPTY EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION "
    "ORDER_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER DISTINCT_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING"
)

#: What a text may have; a list of 50,000 identifiers goes in.
MOST_CHARACTERS = 4_000_000

TOO_DEEP = "The query is nested too deeply: write it with steps (WITH), one after the other."

#: Words that are functions without brackets, unless a column is called so.
_BARE_CLOCKS = frozenset(("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"))


@dataclass(frozen=True, slots=True)
class Admitted:
    """A foreign query that may be run on the connection that admitted it, and what it is made of."""

    sql: str
    views: frozenset[str]
    functions: frozenset[str]


@cache
def list_functions() -> dict[str, bool]:
    """The functions that untrusted SQL may call, and whether each always answers the same."""
    rows = csv.DictReader(io.StringIO(sql_files.read("sandbox/functions.csv")))
    return {row["name"]: row["repeatable"] == "yes" for row in rows}


@cache
def list_public_views() -> frozenset[str]:
    """The views that untrusted SQL may ask."""
    return frozenset(view.name for view in columns.list_views())


def check_tree(
    con: duckdb.DuckDBPyConnection, sql: str, *, repeatable: bool = False, relations: Collection[str] = ()
) -> Admitted:
    """The first layer by itself: what the text says."""
    statements = parse_query(con, sql)
    if len(statements) != 1:
        raise UntrustedSqlError(f"Give one query, not {len(statements)}.")
    judge = _QueryValidator(sql, repeatable, {fold_name(name) for name in relations})
    judge.walk(statements[0]["node"])
    return Admitted(sql, frozenset(judge.views), frozenset(judge.called))


def parse_query(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """The trees of the SELECTs that a text is made of; nothing of it is run, not even what PRAGMA runs when parsed."""
    query_text.check_query_text(sql)
    if len(sql) > MOST_CHARACTERS:
        raise UntrustedSqlError(f"The query has {len(sql):,} characters; at most {MOST_CHARACTERS:,} are read.")
    # A literal, since a parameter would make DuckDB import pandas.
    found = con.execute(
        f"select json_serialize_sql({sql_files.literal(sql)}, skip_default := true, skip_null := true)"
    ).fetchone()
    assert found
    try:
        tree = json.loads(found[0])
    except RecursionError:
        raise UntrustedSqlError(TOO_DEEP) from None
    if not tree["error"]:
        return list(tree["statements"])
    if tree["error_type"] == "not implemented":
        hint = " A PIVOT must name its values: on sex in ('F', 'M')." if "pivot" in sql.lower() else ""
        raise UntrustedSqlError(f"Only one SELECT can be asked here.{hint}")
    if is_too_deep(tree["error_message"]):
        raise UntrustedSqlError(TOO_DEEP)
    try:
        con.extract_statements(sql)
    except duckdb.Error as error:  # the same, with the place
        raise UsageError(f"The query cannot be read. {clean_message(error)}") from None
    raise UntrustedSqlError(f"The query cannot be read. {tree['error_message']}")


def is_too_deep(message: str) -> bool:
    """Whether an error of DuckDB's is about things within things within things."""
    return "Max expression depth" in message or "memory exhausted" in message


def locate_relation(node: dict[str, Any]) -> tuple[str, str]:
    """The catalogue and the schema that a relation of a parsed query is named with, folded; "" where it is not."""
    return fold_name(node.get("catalog_name", "")), fold_name(node.get("schema_name", ""))


class _QueryValidator:
    """Walks a parsed query and refuses the first thing in it that is not listed."""

    def __init__(self, sql: str, repeatable: bool, relations: Collection[str]) -> None:
        self.text = sql.encode()
        self.repeatable = repeatable
        self.relations = relations
        self.views: set[str] = set()
        self.called: set[str] = set()
        #: What is still to be looked at, with the CTEs that can be seen from there.
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
            return  # a value has nothing in it to be run
        if "class" in node:
            self.check_expression(node)
        elif "type" in node:
            self.check_clause(node, ctes)
        if "cte_map" in node:
            ctes = self.check_with(node["cte_map"], ctes)
        # The part that recurs sees its own CTE; what it starts from does not.
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
            return  # the type of a value or of a cast, looked at by itself
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
            raise self.to_error(node, "A sample answers otherwise every time.")

    def check_show(self, node: dict[str, Any]) -> None:
        """SUMMARIZE is a question about rows; DESCRIBE and SHOW ask the catalogue."""
        if node.get("show_type") != "SUMMARY" or "query" not in node:
            raise self.to_error(
                node, "DESCRIBE and SHOW are not allowed in untrusted SQL; chest describe lists views and columns."
            )
        if self.repeatable:
            raise self.to_error(node, "SUMMARIZE answers otherwise every time: its quantiles are of a sample.")

    def check_with(self, clause: dict[str, Any], ctes: frozenset[str]) -> frozenset[str]:
        """Each CTE sees those before it, and what follows sees them all."""
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
            raise self.to_error(node, f"{shown} is to be called {name}: untrusted SQL names a view without its place.")
        raise self.to_error(
            node,
            f"{shown} is none of the views, which are all that a query reads{_suggest(name, list_public_views())}.",
        )

    def check_table_function(self, node: dict[str, Any]) -> None:
        called = node["function"]
        name = fold_name(called.get("function_name", ""))
        if name not in TABLE_FUNCTIONS:
            raise self.to_error(node, f"{name}() is not allowed in untrusted SQL: a query reads the views alone.")

    def check_function(self, node: dict[str, Any]) -> None:
        name = fold_name(node["function_name"])
        if name not in list_functions():
            raise self.to_error(
                node, f"The function {name}() is not allowed in untrusted SQL{_suggest(name, list_functions())}."
            )
        if self.repeatable and (not list_functions()[name] or (name == "age" and len(node.get("children", ())) != 2)):
            raise self.to_error(node, f"{name}() answers otherwise every time.")
        self.called.add(name)

    def check_column(self, node: dict[str, Any]) -> None:
        names = node.get("column_names", ())
        if self.repeatable and len(names) == 1 and fold_name(names[0]) in _BARE_CLOCKS:
            raise self.to_error(node, f"{names[0]} answers otherwise every day.")

    def to_error(self, node: dict[str, Any], why: str) -> UntrustedSqlError:
        at = node.get("query_location")
        return UntrustedSqlError(why, None if at is None else self.text[:at].count(b"\n") + 1)


def _to_words(kind: str) -> str:
    return kind.replace("_", " ")


def _suggest(name: str, names: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
