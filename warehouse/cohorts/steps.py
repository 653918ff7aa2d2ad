"""Splits the SQL of a cohort into its steps, and finds steps that have an invalid name or are never read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.cohorts.definition import Step
from warehouse.cohorts.header import DefinitionError, Problem
from warehouse.cohorts.sql_text import find_line
from warehouse.engine.names import explain_name, fold_name, quote_name

if TYPE_CHECKING:
    from sqlglot import exp


def cut_steps(text: str, tree: exp.Query, tokens: list[Any], path: str) -> tuple[tuple[Step, ...], Step]:
    """Split the text into steps and the final SELECT by their parentheses, so that the text runs exactly as written."""
    from sqlglot import TokenType

    places: list[tuple[Any, int, int, bool]] = []
    at = 1 if tokens[0].token_type is TokenType.WITH else 0
    while at and len(places) < len(tree.ctes):
        name = at
        while tokens[at].token_type is not TokenType.ALIAS:
            if tokens[at].token_type is TokenType.L_PAREN:
                line = find_line(text, tokens[name].start)
                raise DefinitionError(
                    path,
                    [
                        Problem(
                            line, "A step cannot have a list of column names. Name its columns in its SELECT, by AS."
                        )
                    ],
                )
            at += 1
        header_end = at + 1
        while tokens[at].token_type is not TokenType.L_PAREN:
            at += 1
        first, depth = at, 0
        while True:
            depth += (tokens[at].token_type is TokenType.L_PAREN) - (tokens[at].token_type is TokenType.R_PAREN)
            if depth == 0:
                break
            at += 1
        places.append((tokens[name], tokens[first].end + 1, tokens[at].start, first > header_end))
        at += 2 if tokens[at + 1].token_type is TokenType.COMMA else 1
    names = {fold_name(cte.alias): cte.alias for cte in tree.ctes}
    lines = text.splitlines()
    steps = []
    for cte, (token, start, end, is_kept) in zip(tree.ctes, places, strict=True):
        line = find_line(text, token.start)
        reads, after = _find_sources(cte.this, names)
        steps.append(Step(cte.alias, start, end, line, _read_comment_above(lines, line), reads, after, is_kept))
    final = tree.copy()
    final.set("with_", None)
    last = tokens[-2] if tokens[-1].token_type is TokenType.SEMICOLON else tokens[-1]
    line = find_line(text, tokens[at].start)
    reads, after = _find_sources(final, names)
    answer = Step("answer", tokens[at].start, last.end + 1, line, _read_comment_above(lines, line), reads, after)
    return tuple(steps), answer


def _find_sources(query: exp.Query, names: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """Find the steps that a query reads, and the one that its FROM begins with, if any."""
    from sqlglot import exp

    found = [fold_name(table.name) for table in query.find_all(exp.Table) if not table.db]
    begins = query.args.get("from_")
    first = fold_name(begins.this.name) if begins and isinstance(begins.this, exp.Table) else ""
    return tuple(dict.fromkeys(names[name] for name in found if name in names)), names.get(first, "")


def _read_comment_above(lines: list[str], line: int) -> str:
    """Read the comment directly above a step; the header of the file does not count."""
    found: list[str] = []
    at = line - 2
    while at >= 0 and lines[at].lstrip().startswith("--"):
        found.insert(0, lines[at].lstrip()[2:].strip())
        at -= 1
    return " ".join(found) if any(_iterate_lines_before(lines, at)) else ""


def _iterate_lines_before(lines: list[str], at: int) -> Iterator[bool]:
    return (bool(line.strip()) and not line.startswith("--") for line in lines[: at + 1])


def find_misnamed(steps: tuple[Step, ...], tables: Iterable[str] = ()) -> Iterator[Problem]:
    """Yield a problem for each step with an invalid name or a name that is already used."""
    taken = {"answer": "of the final SELECT", **{view.name: "of a view" for view in columns.list_views()}}
    taken |= {fold_name(name): "of a table in the header" for name in tables}
    seen: set[str] = set()
    for step in steps:
        name = fold_name(step.name)
        if wrong := explain_name(step.name):
            yield Problem(step.line, f"The step {quote_name(step.name)} {wrong}")
        elif name in taken or name in seen:
            whose = taken.get(name, "of another step")
            yield Problem(step.line, f"Step {step.name} has the name {whose}. Rename it.")
        seen.add(name)


def find_unused(steps: tuple[Step, ...], answer: Step) -> tuple[Problem, ...]:
    """Find steps that the answer never reads, directly or indirectly: a criterion may have been forgotten."""
    reached, ahead = set(), list(answer.reads)
    by_name = {step.name: step for step in steps}
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += by_name[name].reads
    return tuple(
        Problem(s.line, f"Step {s.name} is never read: the answer does not depend on it.", "warning")
        for s in steps
        if s.name not in reached
    )


def find_tables_read(tree: exp.Query, declared: Iterable[str]) -> tuple[str, ...]:
    """Find the relations that a query reads and that are neither views nor steps; declared ones as they are declared,
    others as they are written first."""
    from sqlglot import exp

    known = {*(view.name for view in columns.list_views()), *(fold_name(cte.alias) for cte in tree.find_all(exp.CTE))}
    spelt = {fold_name(name): name for name in declared}
    found: dict[str, str] = {}
    for table in tree.find_all(exp.Table):
        name = fold_name(table.name)
        if not isinstance(table.this, exp.Func) and not table.db and name not in known:
            found.setdefault(name, spelt.get(name, table.name))
    return tuple(found.values())
