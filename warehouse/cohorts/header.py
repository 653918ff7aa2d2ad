"""Reads the header of a cohort's file: the comment lines `-- key: value` down to the first line of SQL.

Indented lines (`--   …`) continue the text of an entry.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Any

from warehouse.cohorts.tables.declaration import Declaration, parse_declaration
from warehouse.engine.names import explain_name, fold_name, quote_name, suggest_nearest
from warehouse.engine.query_text import shorten
from warehouse.errors import UsageError

#: The grains of a cohort, and the column that identifies a row of each.
GRAINS = {
    "patient": "patient_id",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "image": "SOPInstanceUID",
}
#: The one value of `joins`: DuckDB holds the right side of each join in memory, whichever side it takes for smaller.
AS_WRITTEN = "as written"
#: Types of parameters; any of them may be a list (VARCHAR[]).
TYPES = ("VARCHAR", "INTEGER", "BIGINT", "DOUBLE", "BOOLEAN", "DATE")
#: Names of arguments of `wh.cohort`.
RESERVED = ("as_of", "name", "tables")

_KEYS = ("title", "question", "definition", "limits", "grain", "joins", "param", "label", "table")
#: The most characters of a message; a name or value from the file may have a million.
_MOST_SHOWN = 2_000
#: The most problems that an error lists.
MOST_PROBLEMS = 100
#: The most entries of a header: each is compared with all others, so a hundred thousand would take hours.
_MOST_ENTRIES = 1_000
#: Names compared with names, for one kind of mistake in a file; of the longest names, these take a second.
_MOST_COMPARISONS = 4_000
_NEEDED = ("title", "question", "grain")
# `++` and `*+` do not backtrack: otherwise a million letters without a colon would be split in a million ways.
_LINE = re.compile(r"-- (\w++)([^:]*+): +(.+)")
# `*+` does not backtrack: otherwise a million spaces in an invalid line would be split in a million ways each.
_PARAM = re.compile(r"-- param +(\S+) +(\w+(?:\[\])?) *+(?:= *+(.+?))?: +(.+)")
_LABEL = re.compile(r"-- label +(?:\"((?:[^\"]|\"\")*)\"|(\S+?)) *: +(.+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, warning or note on a line of a cohort's file."""

    line: int
    message: str
    severity: str = "error"


class DefinitionError(UsageError):
    """Errors in a cohort's file; the message has a line `FILE:LINE: problem` for each."""

    def __init__(self, path: str, problems: Iterable[Problem]) -> None:
        cut = (replace(p, message=shorten(p.message, _MOST_SHOWN)) for p in problems)
        self.problems = sorted(cut, key=lambda p: p.line)
        lines = [f"{path}:{p.line}: {p.message}" for p in self.problems[:MOST_PROBLEMS]]
        more = len(self.problems) - len(lines)
        super().__init__("\n".join([*lines, f"{path}: and {more:,} more."] if more else lines))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a cohort; `default` is an SQL literal, None if the parameter is required."""

    name: str
    type: str
    default: str | None
    meaning: str
    line: int

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return self.type.endswith("[]")


def choose_comparable(names: Sized, known: Collection[str]) -> Collection[str]:
    """The known names that each of some unknown ones is compared with: none where they are too many, which no typing
    error makes, and which would take minutes."""
    return known if len(names) * len(known) <= _MOST_COMPARISONS else ()


@dataclass
class Header:
    """The contents of a header: its texts by key, its parameters, labels and tables."""

    texts: dict[str, str] = field(default_factory=dict)
    params: list[Parameter] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    tables: list[Declaration] = field(default_factory=list)


def read(text: str, problems: list[Problem]) -> Header:
    """Read the header of a file; errors are appended to `problems`."""
    header = Header()
    for place, (number, line) in enumerate(_split_entries(text)):
        if place == _MOST_ENTRIES:
            problems.append(
                Problem(
                    1,
                    f"A header has at most {_MOST_ENTRIES:,} entries; line {number} exceeds that.",
                )
            )
            break
        found = _LINE.fullmatch(line)
        key = found[1] if found else ""
        if not found or key not in _KEYS:
            problems.append(_to_problem(number, line, key))
        elif key == "param":
            _parse_param(header, number, line, problems)
        elif key == "label":
            _parse_label(header, number, line, problems)
        elif key == "table":
            _parse_table(header, number, line, problems)
        elif found[2].strip():
            problems.append(Problem(number, f"{key} takes no name. Write  -- {key}: …"))
        elif key in header.texts:
            problems.append(Problem(number, f"Duplicate key {key}: keep one."))
        else:
            header.texts[key] = found[3].strip()
            if key == "joins" and found[3].strip() != AS_WRITTEN:
                problems.append(Problem(number, f"joins can only be {AS_WRITTEN!r}, not {found[3]!r}."))
            if key == "grain" and found[3].strip() not in GRAINS:
                problems.append(
                    Problem(
                        number,
                        f"The grain is {', '.join(GRAINS)}, not {found[3]!r}.{suggest_nearest(found[3], GRAINS)}",
                    )
                )
    mentioned = {p.message.split()[0] for p in problems}
    problems += [
        Problem(1, f"{key} is missing from the header. Add  -- {key}: …")
        for key in _NEEDED
        if key not in header.texts and key not in mentioned
    ]
    return header


def _split_entries(text: str) -> Iterator[tuple[int, str]]:
    """Yield the entries of the header with their first lines; continuation lines are joined."""
    start, parts = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("--"):
            break
        if line.startswith("--   ") and parts:
            parts.append(line[2:].strip())
            continue
        if parts:
            yield start, " ".join(parts)
        start, parts = number, [line.rstrip()] if line.strip("- \t") else []
    if parts:
        yield start, " ".join(parts)


def _to_problem(number: int, line: str, key: str) -> Problem:
    if key:
        return Problem(
            number, f"Unknown key {key} in the header.{suggest_nearest(key, _KEYS)} The keys are {', '.join(_KEYS)}."
        )
    return Problem(
        number,
        f"{line[:40]!r} is not a valid header line. Write `-- key: value`; a continuation line begins with "
        "`--` and three spaces.",
    )


def _parse_param(header: Header, number: int, line: str, problems: list[Problem]) -> None:
    found = _PARAM.fullmatch(line)
    if not found:
        problems.append(Problem(number, "The parameter is not valid. Write  -- param NAME TYPE = DEFAULT: meaning"))
        return
    name, kind, default, meaning = found.groups()
    if kind.upper().removesuffix("[]") not in TYPES:
        problems.append(
            Problem(
                number,
                f"Unknown parameter type {kind}.{suggest_nearest(kind, TYPES)} The types are {', '.join(TYPES)}.",
            )
        )
    elif wrong := explain_name(name):
        problems.append(Problem(number, f"The parameter {quote_name(name)} {wrong}"))
    elif fold_name(name) in RESERVED:
        problems.append(Problem(number, f"A parameter cannot be named {name}, which is reserved. Choose another name."))
    elif fold_name(name) in (fold_name(p.name) for p in header.params):
        problems.append(Problem(number, f"Parameter {name} is declared twice."))
    elif default and not _is_literal(default):
        problems.append(Problem(number, f"The default of {name} must be a literal, not {default}."))
    header.params.append(Parameter(name, kind.upper(), default, meaning.strip(), number))


def _parse_table(header: Header, number: int, line: str, problems: list[Problem]) -> None:
    declared, wrong = parse_declaration(line, number)
    if declared is None:
        problems.append(Problem(number, wrong))
    elif fold_name(declared.name) in (fold_name(table.name) for table in header.tables):
        problems.append(Problem(number, f"Table {declared.name} is declared twice."))
    else:
        header.tables.append(declared)


def _is_literal(text: str) -> bool:
    """Whether a text is a literal: a number, string, boolean, null, date, or a list of them."""
    import sqlglot
    from sqlglot import exp

    try:
        tree: Any = sqlglot.parse_one(f"select {text}", dialect="duckdb")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return False
    parts = (exp.Literal, exp.Boolean, exp.Null, exp.Neg, exp.Array, exp.Cast, exp.DataType, exp.Paren)
    return len(tree.expressions) == 1 and all(
        isinstance(node, (*parts, exp.Select)) and not (node is not tree and isinstance(node, exp.Select))
        for node in tree.walk()
        if not isinstance(node, exp.DataTypeParam)
    )


def _parse_label(header: Header, number: int, line: str, problems: list[Problem]) -> None:
    found = _LABEL.fullmatch(line)
    if not found:
        problems.append(Problem(number, "The label is not valid. Write  -- label COLUMN: meaning"))
        return
    name = found[2] or (found[1] or "").replace('""', '"')
    if wrong := explain_name(name):
        problems.append(Problem(number, f"The label {quote_name(name)} {wrong}"))
    elif fold_name(name) in map(fold_name, header.labels):
        problems.append(Problem(number, f"Label {name} is declared twice."))
    else:
        header.labels[name] = found[3].strip()
