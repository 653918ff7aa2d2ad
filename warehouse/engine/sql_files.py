"""Reads the SQL files in sql/ and fills their templates.

In a checkout `sql/` is beside the package; in a wheel it is inside it. A template names its holes
`{{ name }}`, as Jinja does; they are filled from our own column tables and settings, never from what a user
typed (those values are bound as parameters).
"""

from __future__ import annotations

import csv
import io
import re
from functools import cache
from pathlib import Path

_HOLE = re.compile(r"\{\{ *(\w+) *\}\}")
_NAMED = re.compile(r"^-- name: *(\w+(?: \w+)?) *$", re.MULTILINE)


@cache
def find_root() -> Path:
    """The folder of SQL files."""
    inside = Path(__file__).parent.parent / "sql"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "sql"


@cache
def read(name: str) -> str:
    """The text of a file below sql/, such as `views/images.sql`."""
    return (find_root() / name).read_text(encoding="utf-8")


@cache
def read_mapping(name: str) -> dict[str, str]:
    """A look-up table of sql/cleaning/mappings.csv: input to output, "" where the input has no clean value."""
    rows = csv.DictReader(io.StringIO(read("cleaning/mappings.csv")))
    return {row["input"]: row["output"] for row in rows if row["map_name"] == name}


def list_files(folder: str) -> list[str]:
    """The names of the SQL files in a folder of sql/, sorted."""
    return sorted(f"{folder}/{path.name}" for path in (find_root() / folder).glob("*.sql"))


def fill(template: str, **values: str) -> str:
    """Fill every `{{ hole }}` of a template; KeyError names a hole that has no value."""
    return _HOLE.sub(lambda hole: values[hole[1]], template)


@cache
def read_statements(name: str) -> dict[str, str]:
    """The statements of a file that holds several, each under a line `-- name: …`."""
    parts = _NAMED.split(read(name))
    return {title: text.strip().rstrip(";") for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def read_expression(name: str, title: str) -> str:
    """A named part of a file that is only an expression, without comments: it may be filled into a line."""
    return "\n".join(line for line in read_statements(name)[title].splitlines() if not line.startswith("--"))


def literal(text: str) -> str:
    """A text as a literal of SQL: for the statements that take no parameters, as ATTACH, and for those that every
    start of the command line runs (binding a parameter makes DuckDB import pandas, where there is one: 0.3 s).

    ValueError for a NUL byte, where DuckDB's parser would end the text.
    """
    return "'" + _refuse_nul(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name (column, table, step, label) as SQL quotes it; ValueError for an empty one or a NUL byte."""
    if not name:
        raise ValueError("A name cannot be empty.")
    return '"' + _refuse_nul(name).replace('"', '""') + '"'


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("SQL holds no NUL byte.")
    return text
