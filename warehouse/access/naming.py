"""Refuses or masks texts for the log that name a patient of the lake: the log keeps them for good."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from warehouse.access.airlock.patterns import find_pseudonyms, list_words
from warehouse.engine import sql_files
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb

#: A pseudonym of letters and digits that is at least so long is found in any text, as a word.
_LEAST = 5
#: What stands for a text that names a patient and need not be known: a file, a cohort.
MASKED = "(a name with a pseudonym)"


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


def mask_names(con: duckdb.DuckDBPyConnection, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts without texts that have a distinctive pseudonym of the attached lake."""
    texts = {name: value for name, value in facts.items() if isinstance(value, str)}
    words = [word for word in set().union(*map(list_words, texts.values())) if is_distinctive(word)]
    if not words:
        return {**facts}
    rows = con.execute(sql_files.read_statements("access/airlock.sql")["named"], {"words": words}).fetchall()
    known = {name for (name,) in rows}
    named = {name: MASKED for name, text in texts.items() if known and find_pseudonyms(text, known)}
    return {**facts, **named}
