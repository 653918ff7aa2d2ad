"""Reads the file of a cohort: what its header says (header.py) and its steps; every mistake with its line.

    -- title: Films of positive patients
    -- question: Which films were taken of patients who are positive?
    -- grain: study
    -- param since DATE = '2020-03-01': only studies from this day on
    -- label covid_status: positive or negative
    with
    …

Nothing here touches a lake.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.cohorts import header
from warehouse.cohorts.header import GRAINS, MOST_PROBLEMS, DefinitionError, Parameter, Problem, suggest_nearest
from warehouse.engine import sql_files
from warehouse.engine.names import explain_name, fold_name, quote_name
from warehouse.engine.query_text import find_hidden, read_text
from warehouse.errors import UsageError
from warehouse.query.sandbox import TOO_DEEP

if TYPE_CHECKING:
    from sqlglot import exp

#: The name of the final SELECT when it is made a step; no step of a user can have it.
ANSWER = '"the answer"'

#: A cohort is something to be read.
MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """A named step of the SQL: where its SELECT stands in the text, its line, what the comment above it says, and the
    steps that it reads, the one that its FROM begins with first."""

    name: str
    start: int
    end: int
    line: int
    meaning: str
    reads: tuple[str, ...] = ()
    after: str = ""
    is_kept: bool = False


@dataclass(frozen=True)
class Definition:
    """A cohort as its file defines it."""

    name: str
    path: str
    title: str
    question: str
    grain: str
    definition: str
    limits: str
    params: tuple[Parameter, ...]
    labels: dict[str, str]
    steps: tuple[Step, ...]
    answer: Step
    sql: str
    warnings: tuple[Problem, ...]
    tree: exp.Query = field(repr=False, compare=False)

    @property
    def grain_column(self) -> str:
        """The column that names a row."""
        return GRAINS[self.grain]

    @cached_property
    def bound_sql(self) -> str:
        """The SQL with every `$name` as `cast($name as TYPE)`, so that a null or an empty list has a type; no line
        moves. Values are not in it: they are bound."""
        return _edited(self.sql, self._casts())

    def followed_by(self, final: str) -> str:
        """The same SQL with its final SELECT made one more step, ANSWER, and another SELECT over all steps after it.

        Steps are kept, so that each is computed once however often it is asked; no line moves.
        """
        opening = f"{', ' if self.steps else 'with '}{ANSWER} as materialized ("
        edits = [(step.start - 1, step.start - 1, " materialized ") for step in self.steps if not step.is_kept]
        whole = [*self._casts(), *edits, (self.answer.start, self.answer.start, opening)]
        return f"{_edited(self.sql[: self.answer.end], whole)}\n)\n{final}"

    def _casts(self) -> list[tuple[int, int, str]]:
        types = {fold_name(p.name): p.type for p in self.params}
        return [(at, until, f"cast(${name} as {types[fold_name(name)]})") for at, until, name in placeholders(self.sql)]

    def problem(self, line: int, message: str) -> DefinitionError:
        """A mistake at a line of the file, as an error to raise."""
        return DefinitionError(self.path, [Problem(line, message)])


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """A text with its parts from one place to another replaced."""
    parts, end = [], 0
    for start, until, instead in sorted(edits):
        parts += [text[end:start], instead]
        end = until
    return "".join([*parts, text[end:]])


def shipped() -> list[str]:
    """The names of the cohorts that come with the warehouse."""
    return [Path(name).stem for name in sql_files.files("cohorts")]


def load(name_or_path: str | Path) -> Definition:
    """The cohort of that name in sql/cohorts, or of a file ending in .sql; UsageError when there is none."""
    name = str(name_or_path)
    if name in shipped():
        return parse(sql_files.read(f"cohorts/{name}.sql"), f"sql/cohorts/{name}.sql")
    if not name.endswith(".sql"):
        raise UsageError(
            f"There is no cohort {name!r}.{suggest_nearest(name, shipped())} List them:  chest cohort list   "
            "A cohort of your own is a file ending in .sql."
        )
    return parse(read_text(name, MOST_BYTES), name)


@lru_cache(maxsize=32)
def parse(text: str, path: str) -> Definition:
    """Read the text of a cohort's file; DefinitionError has every mistake that can be seen without its columns."""
    if len(text) > MOST_BYTES:
        raise DefinitionError(path, [Problem(1, f"A cohort has at most {MOST_BYTES:,} characters.")])
    if hidden := find_hidden(text):
        raise DefinitionError(path, [Problem(hidden[0], f"The character {hidden[1]} must not be in a cohort.")])
    try:
        return _parsed(text, path)
    except RecursionError:
        raise DefinitionError(path, [Problem(_deepest(text), TOO_DEEP)]) from None


def _deepest(text: str) -> int:
    """The line with most brackets open: where a text that is nested too deeply is so."""
    depth = most = at = 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth > most:
            most, at = depth, place
    return line_of(text, at)


def _parsed(text: str, path: str) -> Definition:
    problems: list[Problem] = []
    said = header.read(text, problems)
    tree = _tree(text, path)
    tokens = _tokens(text)
    steps, answer = _steps(text, tree, tokens, path)
    params = {fold_name(p.name): p for p in said.params}
    used = {fold_name(name): line_of(text, at) for at, _, name in reversed(list(placeholders(text)))}
    unknown, unused = [name for name in used if name not in params], [name for name in params if name not in used]
    # Of many none is a slip of the pen; and each would be compared with all.
    near_params, near_used = (params, used) if len(unknown) + len(unused) < MOST_PROBLEMS else ({}, {})
    for name in unknown:
        near = suggest_nearest(name, near_params)
        problems.append(Problem(used[name], f"{_shown(name)} is no parameter of the header.{near}"))
    for name in unused:
        near = suggest_nearest(name, near_used)
        problems.append(Problem(params[name].line, f"Parameter {params[name].name} is never used.{near}"))
    problems += _misnamed(steps)
    if problems:
        raise DefinitionError(path, problems)
    return Definition(
        name=Path(path).stem,
        path=path,
        title=said.texts["title"],
        question=said.texts["question"],
        grain=said.texts["grain"],
        definition=said.texts.get("definition", ""),
        limits=said.texts.get("limits", ""),
        params=tuple(said.params),
        labels=said.labels,
        steps=steps,
        answer=answer,
        sql=text,
        warnings=_unused(steps, answer),
        tree=tree,
    )


def _shown(name: str) -> str:
    return f"${name}" if name.isascii() and name.isidentifier() else f"${quote_name(name)}"


def _misnamed(steps: tuple[Step, ...]) -> Iterator[Problem]:
    """Steps whose name cannot be one, or is that of something else."""
    taken = {"answer": "of the final SELECT", **{view.name: "of a view" for view in columns.views()}}
    seen: set[str] = set()
    for step in steps:
        name = fold_name(step.name)
        if wrong := explain_name(step.name):
            yield Problem(step.line, f"The step {quote_name(step.name)} {wrong}")
        elif name in taken or name in seen:
            whose = taken.get(name, "of another step")
            yield Problem(step.line, f"Step {step.name} has the name {whose}: give it one of its own.")
        seen.add(name)


def line_of(text: str, at: int) -> int:
    """The line, from 1, of a place in a text."""
    return text.count("\n", 0, at) + 1


def _tokens(text: str) -> list[Any]:
    import sqlglot

    return list(sqlglot.tokenize(text, dialect="duckdb"))


def placeholders(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each `$name` stands in a text: its first place, the one after it, and its name."""
    from sqlglot import TokenType

    tokens = _tokens(text)
    for sign, name in itertools.pairwise(tokens):
        if sign.token_type is TokenType.PARAMETER and text[sign.start] == "$" and name.start == sign.end + 1:
            yield sign.start, name.end + 1, name.text


def _tree(text: str, path: str) -> exp.Query:
    import sqlglot
    from sqlglot import exp

    try:
        statements = [s for s in sqlglot.parse(text, dialect="duckdb") if s is not None]
    except sqlglot.errors.ParseError as error:
        place = error.errors[0] if error.errors else {}
        near = f" near {place['highlight']!r}" if place.get("highlight") else ""
        line = _parse_line(text, place)
        raise DefinitionError(
            path, [Problem(line, f"This is no SQL: {place.get('description', error)}{near}.")]
        ) from None
    except sqlglot.errors.TokenError:
        raise DefinitionError(path, [Problem(_open_quote(text), "This is no SQL: a quote is not closed.")]) from None
    if len(statements) != 1:
        semicolon = next((t.start for t in _tokens(text) if t.text == ";"), 0)
        at = line_of(text, semicolon) if statements else max(1, text.count("\n"))
        raise DefinitionError(path, [Problem(at, f"A cohort is one SELECT, not {len(statements) or 'nothing'}.")])
    (tree,) = statements
    if not isinstance(tree, exp.Query):
        line = next(iter(_lines_of_code(text)), 1)
        raise DefinitionError(path, [Problem(line, f"A cohort is one SELECT, not {tree.key.upper()}.")])
    with_ = tree.args.get("with_")
    if with_ and with_.args.get("recursive"):
        line = next(iter(_lines_of_code(text)), 1)
        raise DefinitionError(path, [Problem(line, "WITH RECURSIVE is not for cohorts.")])
    return tree


def _parse_line(text: str, place: dict[str, Any]) -> int:
    """The line of a parse error, by its place in the text: sqlglot's own number runs ahead after a `$`."""
    context = str(place.get("start_context") or "") + str(place.get("highlight") or "")
    at = text.find(context) if context else -1
    return line_of(text, at + len(context) - 1) if at >= 0 else int(place.get("line") or 1)


def _open_quote(text: str) -> int:
    """The line of the last quote that is opened: what a tokenizer trips over."""
    return line_of(text, max(text.rfind("'"), text.rfind('"'), text.rfind("/*"), 0))


def _lines_of_code(text: str) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("--"):
            yield number


def _steps(text: str, tree: exp.Query, tokens: list[Any], path: str) -> tuple[tuple[Step, ...], Step]:
    """The steps and the final SELECT, cut from the text by their parentheses: what runs is what was written."""
    from sqlglot import TokenType

    places: list[tuple[Any, int, int, bool]] = []
    at = 1 if tokens[0].token_type is TokenType.WITH else 0
    while at and len(places) < len(tree.ctes):
        name = at
        while tokens[at].token_type is not TokenType.ALIAS:
            if tokens[at].token_type is TokenType.L_PAREN:
                line = line_of(text, tokens[name].start)
                raise DefinitionError(path, [Problem(line, "Name the columns of a step in its SELECT, by AS.")])
            at += 1
        says = at + 1
        while tokens[at].token_type is not TokenType.L_PAREN:
            at += 1
        first, depth = at, 0
        while True:
            depth += (tokens[at].token_type is TokenType.L_PAREN) - (tokens[at].token_type is TokenType.R_PAREN)
            if depth == 0:
                break
            at += 1
        places.append((tokens[name], tokens[first].end + 1, tokens[at].start, first > says))
        at += 2 if tokens[at + 1].token_type is TokenType.COMMA else 1
    names = {fold_name(cte.alias): cte.alias for cte in tree.ctes}
    lines = text.splitlines()
    steps = []
    for cte, (token, start, end, is_kept) in zip(tree.ctes, places, strict=True):
        line = line_of(text, token.start)
        reads, after = _sources(cte.this, names)
        steps.append(Step(cte.alias, start, end, line, _comment_above(lines, line), reads, after, is_kept))
    final = tree.copy()
    final.set("with_", None)
    last = tokens[-2] if tokens[-1].token_type is TokenType.SEMICOLON else tokens[-1]
    line = line_of(text, tokens[at].start)
    reads, after = _sources(final, names)
    answer = Step("answer", tokens[at].start, last.end + 1, line, _comment_above(lines, line), reads, after)
    return tuple(steps), answer


def _sources(query: exp.Query, names: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """The steps that a query reads, and the one of them, if any, that its FROM begins with."""
    from sqlglot import exp

    found = [fold_name(table.name) for table in query.find_all(exp.Table) if not table.db]
    begins = query.args.get("from_")
    first = fold_name(begins.this.name) if begins and isinstance(begins.this, exp.Table) else ""
    return tuple(dict.fromkeys(names[name] for name in found if name in names)), names.get(first, "")


def _comment_above(lines: list[str], line: int) -> str:
    """What the comment above a step says, down from where it begins; the header is none."""
    found: list[str] = []
    at = line - 2
    while at >= 0 and lines[at].lstrip().startswith("--"):
        found.insert(0, lines[at].lstrip()[2:].strip())
        at -= 1
    return " ".join(found) if any(_lines_before(lines, at)) else ""


def _lines_before(lines: list[str], at: int) -> Iterator[bool]:
    return (bool(line.strip()) and not line.startswith("--") for line in lines[: at + 1])


def _unused(steps: tuple[Step, ...], answer: Step) -> tuple[Problem, ...]:
    """Steps that the answer does not come to read: a forgotten criterion."""
    reached, ahead = set(), list(answer.reads)
    by_name = {step.name: step for step in steps}
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += by_name[name].reads
    return tuple(
        Problem(s.line, f"Step {s.name} is never read: the answer goes without it.", "warning")
        for s in steps
        if s.name not in reached
    )
