"""Refuses or masks texts for the log that name a patient of the lake: the log keeps them for good.

Who has withdrawn may be in no snapshot any more, and is recognised by the digests of the standing list.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from warehouse.access.airlock.patterns import find_pseudonyms, list_words
from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.lake import connection, secret, store

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.settings import Settings

#: A pseudonym of letters and digits that is at least so long is found in any text, as a word.
_LEAST = 5
#: What stands for a pseudonym in a text that is kept all the same: the name of a file or a cohort.
MASKED = "(a patient)"


def is_distinctive(name: str) -> bool:
    """Whether a word like this in any text means the patient: letters and digits, and long enough."""
    return len(name) >= _LEAST and bool(re.search("[A-Za-z]", name)) and bool(re.search("[0-9]", name))


def refuse_names(con: duckdb.DuckDBPyConnection, place: Location, texts: Iterable[str | None]) -> None:
    """Raise UsageError if a text has a distinctive pseudonym of the attached lake, or of its standing list; the error
    does not repeat it."""
    given = [text for text in texts if text]
    if not given:
        return
    rows = con.execute(sql_files.read_statements("access/airlock.sql")["patients"]).fetchall()
    known = {name for (name,) in rows if is_distinctive(name)}
    known |= _find_listed(con, place, _list_candidates(given))
    if any(find_pseudonyms(text, known) for text in given):
        raise UsageError("A text names a patient. The log keeps it for good: write it without pseudonyms.")


def mask_names(con: duckdb.DuckDBPyConnection, place: Location, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts, without the distinctive pseudonyms of the attached lake and its standing list in texts."""
    texts = {name: value for name, value in facts.items() if isinstance(value, str)}
    words = _list_candidates(texts.values())
    if not words:
        return {**facts}
    rows = con.execute(sql_files.read_statements("access/airlock.sql")["named"], {"words": words}).fetchall()
    known = {name for (name,) in rows} | _find_listed(con, place, words)
    return {**facts, **{name: _mask(text, known) for name, text in texts.items()}} if known else {**facts}


def mask_text(place: Location, settings: Settings, text: str) -> str:
    """The same of one text, where the lake is not attached; it is only if the text may name somebody."""
    if not _list_candidates([text]):
        return text
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        return str(mask_names(con, place, {"text": text})["text"])


def _find_listed(con: duckdb.DuckDBPyConnection, place: Location, words: Sequence[str]) -> set[str]:
    """Those of the words whom the standing list has, or once had, as it is in the newest state of an attached lake.

    LakeError if it cannot be recognised for lack of the lake's key.
    """
    history = store.list_snapshots(con)
    if not words or not any("withdrawals" in one.info for one in history):
        return set()
    key = secret.require_secret(con, place, "who has withdrawn cannot be recognised")
    query = sql_files.read_statements("access/airlock.sql")["listed"]
    rows = con.execute(sql_files.fill(query, version=str(history[-1].number))).fetchall()
    listed = {digest for (digest,) in rows}
    return {word for word in words if secret.compute_patient_digest(key, word) in listed}


def _list_candidates(texts: Iterable[str]) -> list[str]:
    return [word for word in set[str]().union(*map(list_words, texts)) if is_distinctive(word)]


def _mask(text: str, known: Set[str]) -> str:
    """A text without these pseudonyms; nothing of it if one would be left."""
    for name in sorted(find_pseudonyms(text, known), key=len, reverse=True):
        text = text.replace(name, MASKED)
    return MASKED if find_pseudonyms(text, known) else text
