"""Foreign SQL: a query that somebody else wrote may ask the public views and nothing else.

Three layers, each of which stands by itself (docs/architecture.md, "Foreign SQL"):

1. The parsed tree, by the very parser that will run it: one SELECT over the public views and its own CTEs, with
   functions of sql/foreign/functions.csv. What the tree may hold is listed; what is not listed is refused.
2. The plan that DuckDB binds: known operators only, and each scan of the lake lies beneath the very filter of
   as-of date and group that the views put there.
3. The connection: no file but the lake's, no network, no extension, no setting to change; a time and a memory limit.
"""

import contextlib
import csv
import io
import json
import os
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from warehouse import columns, lake, sqlfiles
from warehouse.errors import ForeignSqlError, UsageError
from warehouse.location import Location
from warehouse.settings import Settings


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Relations beside views and CTEs that FROM may call.
_TABLE_FUNCTIONS = frozenset(("unnest", "range", "generate_series", "json_each", "json_tree", "known_at"))

#: How a public view may be called.
_PLACES = frozenset((("", ""), ("", "main"), ("", lake.ALIAS), (lake.ALIAS, "main")))

#: What a parsed query may be made of, by `class` (expressions) and `type` (all other nodes) of DuckDB's serialization.
_EXPRESSIONS = _listed(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR PARAMETER "
    "POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW"
)
_NODES = _listed(
    "SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE "
    "BASE_TABLE EMPTY EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION "
    "ORDER_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER DISTINCT_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING"
)

#: Words that are functions without brackets, unless a column is called so.
_BARE_CLOCKS = frozenset(("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"))

#: What a bound plan may be made of.
_OPERATORS = _listed(
    "AGGREGATE ANY_JOIN ASOF_JOIN COMPARISON_JOIN CROSS_PRODUCT CTE CTE_SCAN CHUNK_GET COLUMN_DATA_SCAN DELIM_GET "
    "DELIM_JOIN DEPENDENT_JOIN DISTINCT DUMMY_SCAN EMPTY_RESULT EXCEPT EXPRESSION_GET FILTER GENERATE_SERIES "
    "INTERSECT JSON_EACH JSON_TREE LIMIT MATERIALIZED_CTE ORDER_BY PIVOT POSITIONAL_JOIN PROJECTION RANGE REC_CTE "
    "SAMPLE TOP_N UNION UNNEST WINDOW"
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

#: How long a query that does not heed its interruption may go on, where the process is ours.
_GRACE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """A foreign query that may be run on the connection that admitted it, and what it is made of."""

    sql: str
    views: frozenset[str]
    functions: frozenset[str]


def admit(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    repeatable: bool = False,
    relations: Collection[str] = (),
) -> Admitted:
    """Let a foreign query in, or say why not: ForeignSqlError with the line; UsageError where DuckDB cannot read it.

    `con` must be one that `harden` was applied to. `repeatable` also forbids what answers otherwise every time
    (random, now, samples). `relations` names temporary tables of ours that it may read besides the views.
    """
    try:
        sql.encode()
    except UnicodeError:
        raise ForeignSqlError("The query is no text: it has bytes that are not UTF-8.") from None
    if "\0" in sql:
        raise ForeignSqlError("A query has no zero bytes.")
    admitted = check_tree(con, sql, repeatable=repeatable, relations=relations)
    check_plan(con, sql, params, relations=relations)
    return admitted


@cache
def functions() -> dict[str, bool]:
    """The functions that foreign SQL may call, and whether each always answers the same."""
    rows = csv.DictReader(io.StringIO(sqlfiles.read("foreign/functions.csv")))
    return {row["name"]: row["repeatable"] == "yes" for row in rows}


@cache
def public_views() -> frozenset[str]:
    """The views that foreign SQL may ask."""
    return frozenset(view.name for view in columns.views())


# --- the parsed tree ---


def check_tree(
    con: duckdb.DuckDBPyConnection, sql: str, *, repeatable: bool = False, relations: Collection[str] = ()
) -> Admitted:
    """The first layer by itself: what the text says."""
    statements = _parsed(con, sql)
    if len(statements) != 1:
        raise ForeignSqlError(f"Give one query, not {len(statements)}.")
    judge = _Judge(sql, repeatable, {name.lower() for name in relations})
    judge.walk(statements[0]["node"])
    return Admitted(sql, frozenset(judge.views), frozenset(judge.called))


def _parsed(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """The trees of the SELECTs that a text is made of; nothing of it is run, not even what PRAGMA runs when parsed."""
    # A literal, since a parameter would make DuckDB import pandas.
    found = con.execute(
        f"select json_serialize_sql({sqlfiles.literal(sql)}, skip_default := true, skip_null := true)"
    ).fetchone()
    assert found
    try:
        tree = json.loads(found[0])
    except RecursionError:
        raise ForeignSqlError("The query is nested too deeply.") from None
    if not tree["error"]:
        return list(tree["statements"])
    if tree["error_type"] == "not implemented":
        hint = " A PIVOT must name its values: on sex in ('F', 'M')." if "pivot" in sql.lower() else ""
        raise ForeignSqlError(f"Only one SELECT can be asked here.{hint}")
    from warehouse.reader import explain

    try:
        con.extract_statements(sql)
    except duckdb.Error as error:  # the same, with the place
        raise UsageError(f"The query cannot be read. {explain(error)}") from None
    raise ForeignSqlError(f"The query cannot be read. {tree['error_message']}")


class _Judge:
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
                self.judge(node, ctes)

    def judge(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        if node.get("class") == "CONSTANT":
            return  # a value has nothing in it to be run
        if "class" in node:
            self.expression(node)
        elif "type" in node:
            self.clause(node, ctes)
        if "cte_map" in node:
            ctes = self.with_clause(node["cte_map"], ctes)
        # The part that recurs sees its own CTE; what it starts from does not.
        own = {node["cte_name"].lower()} if node.get("type") == "RECURSIVE_CTE_NODE" else set()
        for name, below in node.items():
            if name != "cte_map":
                self.ahead.append((below, ctes | own if name == "right" else ctes))

    def expression(self, node: dict[str, Any]) -> None:
        kind = node["class"]
        if kind not in _EXPRESSIONS:
            raise self.refusal(node, f"{_words(kind)} is not allowed in foreign SQL.")
        if kind in ("FUNCTION", "WINDOW"):
            self.function(node)
        elif kind == "COLUMN_REF":
            self.column(node)

    def clause(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        kind = node["type"]
        if isinstance(kind, dict):
            return  # the type of a value or of a cast, looked at by itself
        if kind not in _NODES and not kind.endswith("_TYPE_INFO"):
            raise self.refusal(node, f"{_words(kind)} is not allowed in foreign SQL.")
        if kind == "BASE_TABLE":
            self.relation(node, ctes)
        elif kind == "TABLE_FUNCTION":
            self.table_function(node)
        elif kind == "SHOW_REF" and not node.get("query"):
            raise self.refusal(node, "SHOW is not allowed in foreign SQL; chest describe lists views and columns.")
        if "at_clause" in node:
            raise self.refusal(node, "AT is not allowed in foreign SQL: use --snapshot.")
        if "sample" in node and self.repeatable:
            raise self.refusal(node, "A sample answers otherwise every time.")

    def with_clause(self, clause: dict[str, Any], ctes: frozenset[str]) -> frozenset[str]:
        """Each CTE sees those before it, and what follows sees them all."""
        for entry in clause.get("map", ()):
            self.ahead.append((entry["value"], ctes))
            ctes |= {entry["key"].lower()}
        return ctes

    def relation(self, node: dict[str, Any], ctes: frozenset[str]) -> None:
        name = node["table_name"].lower()
        place = (node.get("catalog_name", "").lower(), node.get("schema_name", "").lower())
        if place == ("", "") and (name in ctes or name in self.relations):
            return
        if place == ("", "recurring") and name in ctes:
            return
        if place in _PLACES and name in public_views():
            self.views.add(name)
            return
        shown = ".".join(filter(None, (*place, node["table_name"])))
        raise self.refusal(
            node, f"{shown} is none of the views, which are all that a query reads{_nearest(name, public_views())}."
        )

    def table_function(self, node: dict[str, Any]) -> None:
        called = node["function"]
        name = called.get("function_name", "").lower()
        if name not in _TABLE_FUNCTIONS:
            raise self.refusal(node, f"{name}() is not allowed in foreign SQL: a query reads the views alone.")

    def function(self, node: dict[str, Any]) -> None:
        name = node["function_name"].lower()
        if name not in functions():
            raise self.refusal(
                node, f"The function {name}() is not allowed in foreign SQL{_nearest(name, functions())}."
            )
        if self.repeatable and (not functions()[name] or (name == "age" and len(node.get("children", ())) != 2)):
            raise self.refusal(node, f"{name}() answers otherwise every time.")
        self.called.add(name)

    def column(self, node: dict[str, Any]) -> None:
        names = node.get("column_names", ())
        if self.repeatable and len(names) == 1 and names[0].lower() in _BARE_CLOCKS:
            raise self.refusal(node, f"{names[0]} answers otherwise every day.")

    def refusal(self, node: dict[str, Any], why: str) -> ForeignSqlError:
        at = node.get("query_location")
        return ForeignSqlError(why, None if at is None else self.text[:at].count(b"\n") + 1)


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _nearest(name: str, names: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


# --- the bound plan ---


def check_plan(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    relations: Collection[str] = (),
) -> None:
    """The second layer by itself: what DuckDB understood. UsageError where it cannot make sense of the query."""
    from warehouse.reader import explain

    try:
        plan = _bound(con, sql, params)
    except duckdb.Error as error:
        raise UsageError(f"The query cannot be answered. {_own_words(explain(error))}") from None
    scans: dict[str, list[str]] = {}
    for node, above in _operators(plan):
        name = node["name"].strip()
        table = node["extra_info"].get("Table", "") if isinstance(node["extra_info"], dict) else ""
        if name == _LAKE_SCAN and (table in _CUT_BY or table in _OPEN_TABLES):
            if table not in _OPEN_TABLES:
                scans.setdefault(table, []).append(json.dumps(above))
        elif not (name in _OPERATORS or (name == "SEQ_SCAN" and table.rpartition(".")[2] in relations)):
            what = f"{name} of {table}" if table else name
            raise ForeignSqlError(f"The query comes to {what}, which foreign SQL may not do.")
    if not scans:
        return
    views = ", ".join(f"{lake.ALIAS}.main.{_CUT_BY[table]}" for table in scans)
    meant = {
        json.dumps(above) for node, above in _operators(_bound(con, f"select 1 from {views}")) if not node["children"]
    }
    for table, found in scans.items():
        if not meant.issuperset(found):
            raise ForeignSqlError(f"The query reads {table} past the as-of date or the group that were asked for.")


def _bound(con: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, object] | None = None) -> Any:
    """DuckDB's plan of a query as it was bound, before any optimisation."""
    explained = con.extract_statements(f"{_EXPLAIN}{sql}")
    if len(explained) != 1:
        raise ForeignSqlError(f"Give one query, not {len(explained)}.")
    done = con.execute(explained[0], dict(params)) if params else con.execute(explained[0])
    rows = dict(done.fetchall())
    try:
        return json.loads(rows["logical_plan"])
    except RecursionError:
        raise ForeignSqlError("The query is nested too deeply.") from None


def _own_words(message: str) -> str:
    """DuckDB's message without what was put before the query; the mark below the line moves along."""
    before, found, after = message.partition(f"LINE 1: {_EXPLAIN}")
    line, end, mark = after.partition("\n")
    return f"{before}LINE 1: {line}{end}{mark.removeprefix(' ' * len(_EXPLAIN))}" if found else message


def _operators(plan: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Every operator of a plan, each with the nearest filter above it."""
    ahead: list[tuple[dict[str, Any], dict[str, Any] | None]] = [(node, None) for node in plan]
    while ahead:
        node, above = ahead.pop()
        yield node, above
        above = node if node["name"] == "FILTER" else above
        ahead.extend((child, above) for child in node["children"])


# --- the connection ---


def harden(con: duckdb.DuckDBPyConnection, location: Location, settings: Settings) -> None:
    """Take from a connection with an attached lake, and from all its cursors, whatever reading the lake does not need.

    It cannot be undone. The catalogue file and the lake's data files stay within DuckDB's reach (its own scans use
    the same way), which is what the first two layers are for.
    """
    for setting in (
        "explain_output = 'all'",  # the plan as it was bound is shown in no other way
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "python_enable_replacements = false",
        f"max_temp_directory_size = '{settings.sql_spill_mb}MB'",
        f"allowed_directories = [{sqlfiles.literal(location.data_path)}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        con.execute(f"set global {setting}")


@contextlib.contextmanager
def limited(con: duckdb.DuckDBPyConnection, settings: Settings, *, whole_process: bool = False) -> Iterator[None]:
    """Interrupt what runs on the connection when its time is up: UsageError.

    Some single calls heed no interruption and no memory limit of DuckDB's. Where the process is there for the query
    alone (`whole_process`), the operating system limits its memory, and it ends when it does not stop.
    """
    over = threading.Event()
    done = threading.Event()
    message = (
        f"The query took longer than {settings.sql_seconds:g} s. Ask for less, or allow more with CHEST_SQL_SECONDS."
    )

    def watch() -> None:
        if not settings.sql_seconds or done.wait(settings.sql_seconds):
            return
        over.set()
        waited = 0.0
        # Again and again: between two steps of a query there is nothing to interrupt.
        while not done.wait(0.1):
            con.interrupt()
            waited += 0.1
            if whole_process and waited > _GRACE_SECONDS:
                sys.stderr.write(f"chest: {message}\n")
                sys.stderr.flush()
                os._exit(UsageError.exit_code)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with _memory_limited(settings.sql_memory_mb) if whole_process else contextlib.nullcontext():
        try:
            yield
        except (duckdb.Error, UsageError, RuntimeError):
            if over.is_set():
                raise UsageError(message) from None
            raise
        except MemoryError:
            raise UsageError(
                "The answer does not fit into memory. Ask for less, or allow more with CHEST_SQL_MEMORY_MB."
            ) from None
        finally:
            done.set()
            watcher.join()


@contextlib.contextmanager
def _memory_limited(megabytes: int) -> Iterator[None]:
    """Let the process take so much more memory than it holds; on Linux, elsewhere DuckDB's limit must do."""
    held = _data_bytes()
    if not megabytes or held is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + megabytes * 2**20
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    """What RLIMIT_DATA counts: the memory that the process has for itself."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return None
