"""Reads a file of examples: blocks of `key: value` lines and tables whose cells `|` separates.

example: the nearest swab decides
as of: 2020-06-01
param days_after: 7
images
patient_id | SOPInstanceUID | StudyDate
a          | near           | 2020-04-03
clinical
patient_id | positive_swab_date | …
answer
SOPInstanceUID | covid_status
near           | positive
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from warehouse.engine.names import check_names, suggest_nearest
from warehouse.engine.query_text import find_hidden, read_text
from warehouse.errors import UsageError

#: The views whose rows an example may give.
VIEWS = ("images", "clinical")
ANSWER = "answer"
MOST_BYTES = 1_000_000

_KEY = re.compile(r"(example|as of|group|param \w+): *(.*)")
_SECTION = re.compile(rf"({'|'.join((*VIEWS, ANSWER))})|table (\w+)")


@dataclass
class ExampleTable:
    """A table of an example: its columns, and its rows with their line numbers; a blank cell is None."""

    line: int
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[str | None]]] = field(default_factory=list)


@dataclass
class Example:
    """An example: what it shows, under which day, group and parameters, its tables and the answer."""

    name: str
    line: int
    as_of: str = ""
    group: str = "training"
    parameters: dict[str, object] = field(default_factory=dict)
    views: dict[str, ExampleTable] = field(default_factory=dict)
    tables: dict[str, ExampleTable] = field(default_factory=dict)
    answer: ExampleTable | None = None


def load_examples(path: Path | str) -> list[Example]:
    """Load the examples of a file; UsageError with the line of the first mistake."""
    text = read_text(path, MOST_BYTES)
    if hidden := find_hidden(text):
        raise UsageError(f"{path}:{hidden[0]}: The character {hidden[1]} is not allowed. Remove it.")
    return parse_examples(text, str(path))


def parse_examples(text: str, path: str) -> list[Example]:
    """Parse a text of examples. Tables and keys before the first `example:` are shared by all."""
    shared = Example("", 1)
    found: list[Example] = []
    table: ExampleTable | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        here = found[-1] if found else shared
        if not line or line.startswith("#"):
            continue
        if key := _KEY.fullmatch(line):
            table = None
            if key[1] == "example":
                found.append(_begin(shared, key[2], number))
            else:
                _set(here, key[1], key[2])
        elif section := _SECTION.fullmatch(line) if table is None or table.columns else None:
            table = _open_section(here, section[1] or "", section[2] or "", number)
        elif table is None:
            near = suggest_nearest(line, (*VIEWS, ANSWER)) if len(line) < 64 else ""
            raise UsageError(
                f"{path}:{number}: Not an example.{near} Begin with  example: NAME  and name a table: "
                f"{', '.join(VIEWS)}, table NAME or {ANSWER}."
            )
        else:
            _add_row(table, line, number, path)
    if not found:
        raise UsageError(f"{path}:1: There is no example. Begin one with  example: NAME")
    for example in found:
        if example.answer is None or not example.answer.columns:
            raise UsageError(f"{path}:{example.line}: The example has no {ANSWER}: write the rows expected.")
    return found


def _begin(shared: Example, name: str, line: int) -> Example:
    return Example(
        name,
        line,
        shared.as_of,
        shared.group,
        dict(shared.parameters),
        dict(shared.views),
        dict(shared.tables),
        shared.answer,
    )


def _set(example: Example, key: str, value: str) -> None:
    if key == "as of":
        example.as_of = value
    elif key == "group":
        example.group = value
    else:
        name = key.removeprefix("param ")
        values = [item.strip() for item in value[1:-1].split(",") if item.strip()]
        example.parameters[name] = values if value.startswith("[") and value.endswith("]") else value


def _open_section(example: Example, name: str, own: str, number: int) -> ExampleTable:
    table = ExampleTable(number)
    if own:
        example.tables[own] = table
    elif name == ANSWER:
        example.answer = table
    else:
        example.views[name] = table
    return table


def _add_row(table: ExampleTable, line: str, number: int, path: str) -> None:
    cells = [cell.strip() for cell in line.split("|")]
    if not table.columns:
        if wrong := check_names(cells, "column"):
            raise UsageError(f"{path}:{number}: {wrong[0]}")
        table.columns = cells
    elif len(cells) != len(table.columns):
        raise UsageError(f"{path}:{number}: The row has {len(cells)} cells, its header {len(table.columns)}.")
    else:
        table.rows.append((number, [cell or None for cell in cells]))
