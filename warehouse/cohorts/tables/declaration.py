"""What a table of the user's own may be called, and how the header of a cohort declares its columns.

-- table reads: patient_id VARCHAR, reader VARCHAR, score INTEGER
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from warehouse.catalog import columns
from warehouse.engine.names import check_names, explain_name, fold_name, quote_name

#: Types that a declaration may state.
TYPES = ("VARCHAR", "INTEGER", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP")
#: The most columns of a table.
MOST_COLUMNS = 500

#: Relations that the package itself makes on the connection of a cohort.
_RESERVED = ("answer", "cohort_answer", "given", "handed_over", "meds_codes", "split_answer", "split_patients")
# `*+` does not backtrack.
_TABLE = re.compile(r"-- table +(\S+?) *+: +(.+)")
_COLUMN = re.compile(r"(\S+) +(\w+)")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A table that a cohort reads: the types of its columns, by name, and the line that declares it."""

    name: str
    columns: dict[str, str]
    line: int


def explain_table_name(name: str) -> str:
    """Why a table cannot have a name, as a sentence after it; "" if it can."""
    if problem := explain_name(name):
        return problem
    if fold_name(name) in {view.name for view in columns.list_views()}:
        return "has the name of a view: choose another name."
    if fold_name(name) in _RESERVED:
        return "has a reserved name: choose another name."
    return ""


def parse_declaration(line: str, number: int) -> tuple[Declaration | None, str]:
    """Parse an entry of the header; returns the declaration, or None with what is wrong."""
    found = _TABLE.fullmatch(line)
    if not found:
        return None, "The table is not valid. Write  -- table NAME: COLUMN TYPE, COLUMN TYPE"
    name = found[1]
    if wrong := explain_table_name(name):
        return None, f"The table {quote_name(name)} {wrong}"
    words = [part.strip() for part in found[2].split(",")]
    if len(words) > MOST_COLUMNS:
        return None, f"Table {name} declares {len(words):,} columns; the limit is {MOST_COLUMNS:,}."
    types: list[tuple[str, str]] = []
    for word in words:
        column = _COLUMN.fullmatch(word)
        if not column:
            return None, f"{quote_name(word)} in table {name} is not a column. Write  COLUMN TYPE"
        if column[2].upper() not in TYPES:
            return None, (
                f"Column {quote_name(column[1])} of table {name} has the unknown type {quote_name(column[2])}. "
                f"The types are {', '.join(TYPES)}."
            )
        types.append((column[1], column[2].upper()))
    if problems := check_names((column for column, _ in types), "column"):
        return None, f"Table {name}: {problems[0]}"
    return Declaration(name, dict(types), number), ""
