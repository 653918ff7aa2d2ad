"""Checks the SQL that a catalogue stores before any of it runs: it may be somebody else's, and reads with one's rights.

A view that calls a table function could read, write or remove any file of whoever reads the lake (`read_text`, logs and
profiles of DuckDB, DuckLake's own clean-up), and a macro could take the name of a function that our queries call.
DuckLake itself (1.5.5) puts the names of tables of inlined rows into its queries without quoting them. And where one of
its tables is a view of the SQLite file, DuckDB runs the text of that view, before anything else of the lake is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import LakeError
from warehouse.lake.snapshots import ALIAS, find_catalogue
from warehouse.text import escape_controls

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location

_SQL = "store/stored_sql.sql"
#: Table functions that compute, and open nothing.
_HARMLESS = frozenset(("unnest", "range", "generate_series", "json_each", "json_tree"))
_CATALOGS = frozenset(("", ALIAS))
_SCHEMAS = frozenset(("", "main", "core", "raw", "ops"))
#: Digests of texts that this process has found harmless: parsing them again would be a tenth of opening a lake.
_plain: set[bytes] = set()
_MOST_PLAIN = 10_000


def require_tables(con: duckdb.DuckDBPyConnection, catalogue: Path) -> None:
    """Raise LakeError if a SQLite catalogue, which is not attached yet, has anything but tables and their indices.

    `con` must have DuckDB's extension for SQLite; duckdb.Error if the file cannot be read.
    """
    if not catalogue.exists() or not catalogue.stat().st_size:
        return
    scan = sql_files.fill(sql_files.read_expression(_SQL, "scan"), path=sql_files.literal(str(catalogue)))
    query = sql_files.fill(sql_files.read_statements(_SQL)["entries"], entries=scan)
    if found := fetch_first(con.execute(query)):
        kind, name = (_shorten(str(word)) for word in found)
        _refuse(str(catalogue.parent), f"its catalogue has a {kind} of SQLite, {name}")


def find_entries_of_sqlite() -> str:
    """The query by which SQLite itself looks for the same."""
    return sql_files.fill(sql_files.read_statements(_SQL)["entries"], entries="sqlite_master")


def require_plain(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Raise LakeError if a catalogue has macros or other expressions, SQL as a name, or views of more than the lake.

    Looks at all views of the snapshot that is attached, and runs none of them.
    """
    sql = sql_files.read_statements(_SQL)
    catalogue = find_catalogue(location)

    def ask(name: str) -> list[tuple[Any, ...]]:
        return con.execute(sql_files.fill(sql[name], catalogue=catalogue)).fetchall()

    if expressions := ask("expressions"):
        _refuse(location.name, f"it has {_shorten(expressions[0][0])}")
    if ask("inlined"):
        _refuse(location.name, "the name of a table of inlined rows is SQL")
    if all(_digest(text) in _plain for _, text in ask("views")):
        return
    # Mostly no tree: DuckDB has searched the parsed texts, which takes a tenth of the time.
    for name, text, tree in ask("parsed"):
        try:
            fault = next(_find_faults(json.loads(tree)), None) if tree else None
        except RecursionError:
            fault = "is nested too deeply to be examined"
        if fault:
            _refuse(location.name, f"its view {_shorten(name)} {fault}")
        if len(_plain) < _MOST_PLAIN:
            _plain.add(_digest(text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _refuse(lake: str, why: str) -> None:
    raise LakeError(
        f"The lake {lake} is not opened: {why}, which could read, write or remove files of yours. Lakes that "
        "chest makes have nothing of the kind. If it came from somebody else, make one of your own from the bucket; if "
        "it is yours, drop that with DuckDB."
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
    if kind == "TABLE_FUNCTION":
        function = tree.get("function", {})
        name = str(function.get("function_name", "")).lower()
        if name not in _HARMLESS or function.get("schema") or function.get("catalog"):
            yield f"calls the function {_shorten(name)}"
    elif kind == "SHOW_REF":
        yield "shows what is not in the lake"
    elif kind == "BASE_TABLE":
        name = str(tree.get("table_name", ""))
        is_odd = (
            not name.isidentifier()
            or tree.get("schema_name") not in _SCHEMAS
            or tree.get("catalog_name") not in _CATALOGS
        )
        if is_odd:
            yield f"reads {_shorten(name)}"
    for part in tree.values():
        yield from _find_faults(part)
