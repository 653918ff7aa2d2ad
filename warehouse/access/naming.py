"""Refuses texts for the log that name a patient of the lake: the log keeps them for good."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from warehouse.access.airlock.patterns import find_pseudonyms
from warehouse.engine import sql_files
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb

#: A pseudonym of letters and digits that is at least so long is found in any text, as a word.
_LEAST = 5


def is_distinctive(name: str) -> bool:
    """Whether a word like this in any text means the patient: letters and digits, and long enough."""
    return len(name) >= _LEAST and bool(re.search("[A-Za-z]", name)) and bool(re.search("[0-9]", name))


def refuse_names(con: duckdb.DuckDBPyConnection, texts: Iterable[str | None]) -> None:
    """Raise UsageError if a text has a distinctive pseudonym of the attached lake; the error does not repeat it."""
    given = [text for text in texts if text]
    if not given:
        return
    rows = con.execute(sql_files.read_statements("access/airlock.sql")["patients"]).fetchall()
    known = {name for (name,) in rows if is_distinctive(name)}
    if any(find_pseudonyms(text, known) for text in given):
        raise UsageError("A text names a patient. The log keeps it for good: write it without pseudonyms.")
