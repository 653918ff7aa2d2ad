"""Binds a cohort against an empty lake in memory that has the declared columns, to check its names and types.

This checks a cohort before it runs, without a lake: DuckDB itself binds it to the same views and reports errors with
their lines. Suggestions of names are our own: DuckDB would suggest names of its own catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog import columns, public_views
from warehouse.cohorts.definition import ANSWER, Definition, Step
from warehouse.cohorts.header import DefinitionError, Problem, choose_comparable
from warehouse.cohorts.sql_text import find_line
from warehouse.cohorts.tables.types import quote_type
from warehouse.engine import query_text, sql_files
from warehouse.engine.connections import open_connection
from warehouse.engine.names import find_wrong_names, suggest_nearest
from warehouse.lake import store
from warehouse.query import macros, sandbox

if TYPE_CHECKING:
    import duckdb

#: The macros that a cohort may call.
MACROS = ("macros/tag.sql", "macros/known_at.sql", "macros/fold_centre.sql")

_LINE = re.compile(r"\n+LINE (\d+):")
_CANDIDATES = re.compile(r"\n+Candidate bindings: (.+)")
_MEANT = re.compile(r"\n+Did you mean .+")
_QUOTED = re.compile(r'"([^"]+)"')


def open_shell() -> duckdb.DuckDBPyConnection:
    """Open a connection to an empty lake with every view and macro, without access to files or network."""
    con = _create_shell().cursor()
    con.execute(f"use {store.ALIAS}")
    macros.create_macros(con, MACROS)  # temporary: each connection has its own
    return con


def create_tables(con: duckdb.DuckDBPyConnection, tables: Mapping[str, Mapping[str, str]]) -> None:
    """Create empty tables of the user's own on a connection of `open_shell`: by name, the types of their columns."""
    for name, kinds in tables.items():
        fields = ", ".join(f"{sql_files.identifier(column)} {quote_type(kind)}" for column, kind in kinds.items())
        con.execute(f"create temp table {sql_files.identifier(name)} ({fields})")


@cache
def _create_shell() -> duckdb.DuckDBPyConnection:

    con = open_connection({"threads": 1, "memory_limit": "200MB"})
    con.execute(f"attach ':memory:' as {store.ALIAS}; use {store.ALIAS}")
    con.execute("create schema raw; create schema core; create schema ops; create schema access; set TimeZone = 'UTC'")
    con.execute("create table core.dicom_attributes (keyword varchar, tag varchar)")
    for table in columns.list_tables():
        con.execute(f"create table {table.name} ({columns.render_columns(table)})")
    for view in public_views.VIEW_ORDER:
        con.execute(public_views.render_view(view))
    con.execute(f"set global max_expression_depth = {sandbox.MOST_DEPTH}")
    con.execute("set enable_external_access = false; set lock_configuration = true")
    return con


def bind(
    con: duckdb.DuckDBPyConnection, definition: Definition, values: Mapping[str, object]
) -> dict[str, dict[str, str]]:
    """Return the columns of each step and of the answer, with their types.

    DefinitionError if DuckDB cannot bind the SQL, if the answer lacks its grain column or a label, or if a column of
    the answer has a name that a manifest cannot have.
    """
    import duckdb

    steps = (*definition.steps, definition.answer)
    rows = ", ".join(f"(select any_value(row) from {quote_step(step)} as row)" for step in steps)
    try:
        kinds = [c[1] for c in con.execute(definition.followed_by(f"select {rows} where false"), values).description]
        # Separately, because a step renames duplicate column names.
        names = [str(row[0]) for row in con.execute(f"describe {definition.bound_sql}", values).fetchall()]
    except duckdb.Error as error:
        raise to_definition_error(error, definition) from None
    found = {
        step.name: {name: str(type_) for name, type_ in kind.children} for step, kind in zip(steps, kinds, strict=True)
    }
    problems = [
        Problem(_find_line_of_column(definition, name), f"{problem} Name it by AS in the final SELECT.")
        for name, problem in find_wrong_names(names, "column")
    ]
    lacking = {
        name: problem for name, problem in _list_required_columns(definition).items() if name not in found["answer"]
    }
    near = choose_comparable(lacking, found["answer"])
    problems += [
        Problem(definition.answer.line, f"{problem} {suggest_nearest(name, near).strip()}".rstrip())
        for name, problem in lacking.items()
    ]
    if problems:
        raise DefinitionError(definition.path, problems)
    return found


def quote_step(step: Step) -> str:
    """Quote the name of a step for SQL after `Definition.followed_by`."""
    return ANSWER if step.name == "answer" else sql_files.identifier(step.name)


def _find_line_of_column(definition: Definition, name: str) -> int:
    """Find the line that names a column of the answer, else the line of its SELECT."""
    for column in definition.tree.selects:
        named = (column.args.get("alias") or column.this) if column.alias_or_name == name else None
        if named is not None and (start := getattr(named, "meta", {}).get("start")) is not None:
            return find_line(definition.sql, start)
    return definition.answer.line


def _list_required_columns(definition: Definition) -> dict[str, str]:
    grain = definition.grain_column
    return {
        grain: f"The final SELECT lacks {grain}, the identifier of the grain {definition.grain}.",
        **{label: f"The final SELECT lacks the label {label} that the header declares." for label in definition.labels},
    }


def to_definition_error(error: duckdb.Error, definition: Definition) -> DefinitionError:
    """Convert DuckDB's message, with the line in the file and the nearest known name."""
    text = query_text.shorten(str(error).strip())
    if sandbox.is_too_deep(text):
        return definition.problem(definition.answer.line, sandbox.TOO_DEEP)
    place = _LINE.search(text)
    line = int(place[1]) if place else definition.answer.line
    text = text[: place.start()] if place else text
    text = text.partition("\n\tCandidate functions")[0]
    candidates = _CANDIDATES.search(text)
    known = _QUOTED.findall(candidates[1]) if candidates else []
    text = _MEANT.sub("", _CANDIDATES.sub("", text)).strip()
    kind, _, rest = text.partition(": ")
    text = rest if kind.endswith("Error") else text
    missing = _QUOTED.findall(text)
    if "Table with name" in text:
        name = text.split()[3]
        known = [*(view.name for view in columns.list_views()), *(step.name for step in definition.steps)]
        known += definition.declared_tables
        return definition.problem(line, f"There is no view or step {name}.{suggest_nearest(name, known)}")
    if missing and ("not found in FROM clause" in text or "does not have a column named" in text):
        table, name = missing[0] if len(missing) > 1 else "", missing[-1]
        where = f" in {table}" if table else ""
        return definition.problem(line, f"There is no column {name}{where}.{_suggest_column(name, table, known)}")
    return definition.problem(line, " ".join(text.split()))


def _suggest_column(name: str, table: str, candidates: list[str]) -> str:
    """Suggest the nearest possible name, else the views that have a column of that name or a similar one."""
    views = columns.load_relations()
    if table in views:
        candidates = [column.name for column in views[table].columns]
    if hint := suggest_nearest(name, {c.rpartition(".")[2] for c in candidates} - {name}):
        return hint
    if having := [view.name for view in columns.list_views() if name in (column.name for column in view.columns)]:
        return f" It is a column of {', '.join(having)}: the steps before must select it."
    return (
        ""
        if table
        else suggest_nearest(name, {column.name for view in columns.list_views() for column in view.columns})
    )
