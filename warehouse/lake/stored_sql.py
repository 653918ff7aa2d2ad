"""Checks a catalogue before any SQL in it runs: it may be somebody else's, and reads and writes with one's rights.

A view that calls a table function could read, write or remove any file of whoever reads the lake (`read_text`, logs and
profiles of DuckDB, DuckLake's own clean-up), one that calls `current_setting` could show a secret, and a macro could
take the name of a function that our queries call. DuckLake itself (1.5.5) puts some texts of its tables into its
statements without quoting them. And where one of its tables is a view of the SQLite file, DuckDB runs the text of that
view, before anything else of the lake is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.engine import functions, sql_files
from warehouse.errors import LakeError
from warehouse.lake.snapshots import ALIAS, METADATA, find_catalogue
from warehouse.text import escape_controls

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location

_SQL = "store/stored_sql.sql"
#: Table functions that compute, and open nothing.
_HARMLESS = frozenset(("unnest", "range", "generate_series", "json_each", "json_tree"))
_CATALOGS = frozenset(("", ALIAS))
_SCHEMAS = frozenset(("", "main", "core", "raw", "ops"))
#: DuckDB's own relations that are named without a schema: of them `pg_settings` shows what `current_setting` does.
OF_DUCKDB = "(?i:pg_|duckdb_|sqlite_|pragma_)"
#: Functions that make a zero byte of texts without one, as a cast by way of JSON does. There DuckLake ends a text that
#: a column is compared with, in a statement of its own (optimisers.py), and what follows would be run as SQL.
_MAKES_NUL = re.compile(r"chr|decode|url_decode|printf|format|->>?|\w*json\w*")
_JSON = "json"
#: Digests of texts that this process has found harmless: parsing them again would be a tenth of opening a lake.
_plain: set[bytes] = set()
_MOST_PLAIN = 10_000


#: The columns of DuckLake's own tables that are texts. All others are numbers, as we put them into statements.
_TEXTS = (
    *("key", "value", "scope", "snapshot_time", "changes_made", "author", "commit_message", "commit_extra_info"),
    *("schema_uuid", "schema_name", "path", "table_uuid", "table_name", "view_uuid", "view_name", "dialect"),
    *("sql", "column_aliases", "file_format", "format", "encryption_key", "min_value", "max_value", "extra_stats"),
    *("variant_path", "shredded_type", "column_name", "column_type", "initial_default", "default_value"),
    *("default_value_type", "default_value_dialect", "transform", "partition_value", "schedule_start", "type"),
    *("source_name", "macro_name", "parameter_name", "parameter_type", "expression", "sort_direction"),
    "null_order",
)
#: What a catalogue in SQLite may have, each as `kind: statement`, or `kind name` where there is no statement: tables
#: whose columns are what they seem (names and types, no values by default), and the indices that SQLite makes for the
#: keys of DuckLake's tables, each a number. Only tables of inlined rows, and of others, have texts of any name.
_NAME = r'("[^"]+"|[A-Za-z_][A-Za-z0-9_]*)'
_NUMBER = "BIGINT|INTEGER|SMALLINT|TINYINT|BOOLEAN|DOUBLE|FLOAT"
_TYPE = rf"({_NUMBER}|VARCHAR|TEXT|BLOB|UUID|DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE)"
_OPTIONS = "( NOT NULL)?( DEFAULT NULL)?"
_COLUMN = rf"{_NAME} {_TYPE}{_OPTIONS}"
_OWN_COLUMN = rf"""({_NAME} ({_NUMBER})|"?({"|".join(_TEXTS)})"? {_TYPE}){_OPTIONS}"""
_OWN = r'"?ducklake_(?!inlined_[a-z]+_\d)'
_KEY = "(snapshot_id|schema_id|data_file_id|delete_file_id) BIGINT PRIMARY KEY"
PLAIN_ENTRY = (
    rf"table: (?i:CREATE TABLE (?={_OWN}){_NAME}\(({_KEY}|{_OWN_COLUMN})(, {_OWN_COLUMN})*\))|"
    rf"table: (?i:CREATE TABLE (?!{_OWN}){_NAME}\({_COLUMN}(, {_COLUMN})*\))|"
    "index sqlite_autoindex_ducklake_(snapshot|snapshot_changes|schema|data_file|delete_file)_1"
)
#: DuckLake's names of types, without those whose statistics are SQL in its hands (geometry, variant).
_PLAIN_TYPE = (
    r"boolean|u?int(8|16|32|64|128)|float(32|64)|decimal\(\d+, ?\d+\)|date|time|timetz|timestamp(tz|_s|_ms|_ns)?|"
    r"interval|varchar|json|blob|uuid|list|struct|map"
)


def require_tables(con: duckdb.DuckDBPyConnection, catalogue: Path, busy_ms: int) -> None:
    """Raise LakeError if a SQLite catalogue, which is not attached yet, has anything but plain tables and their keys.

    `con` must have DuckDB's extension for SQLite, and waits so long for a catalogue that is locked; duckdb.Error if the
    file cannot be read.
    """
    if not catalogue.exists() or not catalogue.stat().st_size:
        return
    sql = sql_files.read_statements(_SQL)
    con.execute(sql_files.fill(sql["attach file"], path=sql_files.literal(str(catalogue)), busy=str(busy_ms)))
    try:
        entries = _ask_server(con, "sqlite", "examined", sql["entries"])
    finally:
        con.execute(sql["detach file"])
    for kind, name, text in entries:
        if not re.fullmatch(PLAIN_ENTRY, f"{kind} {name}" if text is None else f"{kind}: {text}"):
            _refuse(
                str(catalogue.parent), f"its catalogue has more than plain tables, the {_shorten(f'{kind} {name}')}"
            )


def require_relations(con: duckdb.DuckDBPyConnection, location: Location, database: str) -> None:
    """Raise LakeError if a catalogue in PostgreSQL, which is attached as a plain `database`, has anything but plain
    tables with their keys: its server would run what they call as whoever is logged in.
    """
    texts = ", ".join(map(sql_files.literal, _TEXTS))
    words = {"schema": sql_files.literal(location.schema), "texts": texts}
    query = sql_files.fill(sql_files.read_statements(_SQL)["relations"], **words)
    ((name,),) = _ask_server(con, "postgres", database, query)
    if name:
        _refuse(location.name, f"{_shorten(name)} is no plain table of its PostgreSQL database")


def may_lose_rows(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether DuckDB would lose the last row of a table of the attached SQLite catalogue by more than one thread."""
    sql = sql_files.read_statements(_SQL)
    entries = _ask_server(con, "sqlite", METADATA, sql["entries"])
    tables = [sql_files.identifier(name) for kind, name, _ in entries if kind == "table"]
    ends = " union all ".join(sql_files.fill(sql["ends"], table=table) for table in tables)
    ((n_tables,),) = _ask_server(con, "sqlite", METADATA, sql_files.fill(sql["losing"], ends=ends))
    return int(n_tables) > 0


def _ask_server(con: duckdb.DuckDBPyConnection, kind: str, database: str, query: str) -> list[tuple[Any, ...]]:
    """Have SQLite or PostgreSQL answer a query itself."""
    words = {"database": sql_files.literal(database), "query": sql_files.literal(query)}
    return con.execute(sql_files.fill(sql_files.read_statements(_SQL)[f"ask {kind}"], **words)).fetchall()


def require_plain(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Raise LakeError if the attached catalogue has macros or other expressions, SQL as a name, or views of more than
    the lake, in any of its snapshots. Looks at all views and runs none of them.
    """
    sql = sql_files.read_statements(_SQL)
    catalogue = find_catalogue(location)

    def ask(name: str, **words: str) -> list[tuple[Any, ...]]:
        return con.execute(sql_files.fill(sql[name], catalogue=catalogue, **words)).fetchall()

    if odd := ask("odd", plain_type=sql_files.literal(_PLAIN_TYPE)):
        _refuse(location.name, f"it has {_shorten(str(odd[0][0]))}")
    if all(_digest(text) in _plain for (text,) in ask("views")):
        return
    # Mostly no tree: DuckDB has searched the parsed texts, which takes a tenth of the time.
    allowed = f"[{', '.join(map(sql_files.literal, sorted(_list_functions())))}]"
    of_duckdb = sql_files.literal(f'"table_name":"{OF_DUCKDB}')
    for name, text, tree in ask("parsed", functions=allowed, of_duckdb=of_duckdb):
        try:
            fault = next(_find_faults(json.loads(tree)), None) if tree else None
        except RecursionError:
            fault = "is nested too deeply to be examined"
        if fault:
            _refuse(location.name, f"its view {_shorten(name)} {fault}")
        if len(_plain) < _MOST_PLAIN:
            _plain.add(_digest(text))


@cache
def _list_functions() -> frozenset[str]:
    """The functions that a stored view may call: those of untrusted SQL which make no zero byte, and what has the day
    and the group of a session."""
    return frozenset((*(name for name in functions.list_functions() if not _MAKES_NUL.fullmatch(name)), "getvariable"))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _refuse(lake: str, why: str) -> None:
    raise LakeError(
        f"The lake {lake} is not opened: {why}, which could read, write or remove files of yours, or disclose what is "
        "secret. Lakes that chest makes have nothing of the kind. If it came from somebody else, make one of your own "
        "from the bucket; if it is yours, drop that with DuckDB."
    )


def _shorten(name: str) -> str:
    return escape_controls(name[:63], keep_lines=False)


def _find_faults(tree: Any) -> Iterator[str]:
    """What a parsed view has that may not be in it."""
    if isinstance(tree, list):
        for part in tree:
            yield from _find_faults(part)
    if not isinstance(tree, dict):
        return
    kind = tree.get("type")
    if tree.get("error") is True:
        yield "cannot be read as a query"
    if tree.get("at_clause"):
        yield "reads another snapshot than that which is open"
    if kind == "TABLE_FUNCTION":
        function = tree.get("function", {})
        name = str(function.get("function_name", "")).lower()
        if name not in _HARMLESS or function.get("schema") or function.get("catalog"):
            yield f"calls the function {_shorten(name)}"
    elif "function_name" in tree and tree["function_name"] not in _list_functions() | _HARMLESS:
        yield f"calls the function {_shorten(str(tree['function_name']))}"
    elif kind == "SHOW_REF":
        yield "shows what is not in the lake"
    elif kind == "UNBOUND_TYPE_INFO" and str(tree.get("name")).lower() == _JSON:
        yield "casts to JSON"
    elif kind == "BASE_TABLE" and _is_odd_table(tree):
        yield f"reads {_shorten(str(tree.get('table_name', '')))}"
    for part in tree.values():
        yield from _find_faults(part)


def _is_odd_table(tree: dict[str, Any]) -> bool:
    """Whether a relation is none of the lake."""
    name = str(tree.get("table_name", ""))
    return (
        not name.isidentifier()
        or bool(re.match(OF_DUCKDB, name))
        or tree.get("schema_name") not in _SCHEMAS
        or tree.get("catalog_name") not in _CATALOGS
    )
