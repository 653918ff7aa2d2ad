"""Reads the file of a cohort: its header (header.py), its one SELECT and its steps (steps.py).

Every mistake is reported with its line. Nothing here touches a lake.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.cohorts import header
from warehouse.cohorts.definition import Definition
from warehouse.cohorts.header import DefinitionError, Problem, choose_comparable
from warehouse.cohorts.sql_text import (
    find_deepest_line,
    find_line,
    find_lines_of_code,
    find_open_quote,
    find_parse_line,
    find_placeholders,
    tokenize,
)
from warehouse.cohorts.steps import cut_steps, find_misnamed, find_tables_read, find_unused
from warehouse.engine import sql_files
from warehouse.engine.names import fold_name, quote_name, suggest_nearest
from warehouse.engine.query_text import find_hidden, read_text
from warehouse.errors import UsageError
from warehouse.query.sandbox import TOO_DEEP

if TYPE_CHECKING:
    from sqlglot import exp

#: The most characters of a cohort's file: it is meant to be read by people.
MOST_BYTES = 1_000_000


def list_shipped() -> list[str]:
    """List the cohorts of sql/cohorts."""
    return [Path(name).stem for name in sql_files.list_files("cohorts")]


def load(name_or_path: str | Path) -> Definition:
    """Load a cohort of sql/cohorts by name, or from a file ending in .sql; UsageError if it does not exist."""
    name = str(name_or_path)
    if name in list_shipped():
        return parse(sql_files.read(f"cohorts/{name}.sql"), f"sql/cohorts/{name}.sql")
    if not name.endswith(".sql"):
        raise UsageError(
            f"There is no cohort {name!r}.{suggest_nearest(name, list_shipped())} List them:  chest cohort list   "
            "For a cohort of your own, give a file ending in .sql."
        )
    return parse(read_text(name, MOST_BYTES), name)


@lru_cache(maxsize=32)
def parse(text: str, path: str) -> Definition:
    """Parse the text of a cohort's file; DefinitionError lists every error that can be found without the columns."""
    if len(text) > MOST_BYTES:
        raise DefinitionError(
            path, [Problem(1, f"The file has more than {MOST_BYTES:,} characters, the most for a cohort. Shorten it.")]
        )
    if hidden := find_hidden(text):
        raise DefinitionError(
            path, [Problem(hidden[0], f"The character {hidden[1]} is not allowed in a cohort. Remove it.")]
        )
    try:
        return _parse_text(text, path)
    except RecursionError:
        raise DefinitionError(path, [Problem(find_deepest_line(text), TOO_DEEP)]) from None


def _parse_text(text: str, path: str) -> Definition:
    problems: list[Problem] = []
    head = header.read(text, problems)
    tree = _parse_tree(text, path)
    tokens = tokenize(text)
    steps, answer = cut_steps(text, tree, tokens, path)
    params = {fold_name(p.name): p for p in head.params}
    used = {fold_name(name): find_line(text, at) for at, _, name in reversed(list(find_placeholders(text)))}
    unknown, unused = [name for name in used if name not in params], [name for name in params if name not in used]
    near_params, near_used = choose_comparable(unknown, params), choose_comparable(unused, used)
    for name in unknown:
        near = suggest_nearest(name, near_params)
        problems.append(
            Problem(
                used[name],
                f"{_format_name(name)} is not a parameter in the header.{near}",
            )
        )
    for name in unused:
        near = suggest_nearest(name, near_used)
        problems.append(Problem(params[name].line, f"Parameter {params[name].name} is never used.{near}"))
    problems += find_misnamed(steps, [table.name for table in head.tables])
    tables_read = find_tables_read(tree, [table.name for table in head.tables])
    problems += [
        Problem(table.line, f"Table {table.name} is never read.")
        for table in head.tables
        if table.name not in tables_read and fold_name(table.name) not in {fold_name(step.name) for step in steps}
    ]
    if problems:
        raise DefinitionError(path, problems)
    return Definition(
        name=Path(path).stem,
        path=path,
        title=head.texts["title"],
        question=head.texts["question"],
        grain=head.texts["grain"],
        definition=head.texts.get("definition", ""),
        limits=head.texts.get("limits", ""),
        params=tuple(head.params),
        labels=head.labels,
        steps=steps,
        answer=answer,
        sql=text,
        warnings=find_unused(steps, answer),
        tree=tree,
        tables=tuple(head.tables),
        tables_read=tables_read,
        has_joins_as_written="joins" in head.texts,
    )


def _format_name(name: str) -> str:
    return f"${name}" if name.isascii() and name.isidentifier() else f"${quote_name(name)}"


def _parse_tree(text: str, path: str) -> exp.Query:
    import sqlglot
    from sqlglot import exp

    try:
        statements = [s for s in sqlglot.parse(text, dialect="duckdb") if s is not None]
    except sqlglot.errors.ParseError as error:
        place = error.errors[0] if error.errors else {}
        near = f" near {place['highlight']!r}" if place.get("highlight") else ""
        line = find_parse_line(text, place)
        raise DefinitionError(path, [Problem(line, f"Invalid SQL: {place.get('description', error)}{near}.")]) from None
    except sqlglot.errors.TokenError:
        raise DefinitionError(path, [Problem(find_open_quote(text), "Invalid SQL: a quote is not closed.")]) from None
    if len(statements) != 1:
        semicolon = next((t.start for t in tokenize(text) if t.text == ";"), 0)
        at = find_line(text, semicolon) if statements else max(1, text.count("\n"))
        raise DefinitionError(path, [Problem(at, f"A cohort is one SELECT, not {len(statements) or 'nothing'}.")])
    (tree,) = statements
    if not isinstance(tree, exp.Query):
        line = next(iter(find_lines_of_code(text)), 1)
        raise DefinitionError(path, [Problem(line, f"A cohort is one SELECT, not {tree.key.upper()}.")])
    with_ = tree.args.get("with_")
    if with_ and with_.args.get("recursive"):
        line = next(iter(find_lines_of_code(text)), 1)
        raise DefinitionError(path, [Problem(line, "WITH RECURSIVE is not allowed in a cohort.")])
    return tree
