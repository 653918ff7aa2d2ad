"""How a value of a form is read: texts, days, ORCID iDs, words of a list. A value that is wrong is a ValueError.

Its text completes the sentence "FIELD …": what is wrong, and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from typing import Any

from warehouse.access import duo_terms
from warehouse.access.airlock.patterns import find_looks
from warehouse.engine.names import quote_name, suggest_nearest

Read = Callable[[Any], Any]
#: The word for every one of a kind.
ALL = "all"
_MOST_LISTED = 24
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4})-?(\d{4})-?(\d{4})-?(\d{3}[\dX])", re.IGNORECASE)
_MONDO = re.compile(r"MONDO[:_](\d{7})", re.IGNORECASE)


def read_line(most: int = 300) -> Read:
    """Read a text of one line."""

    def read(value: Any) -> str:
        text = " ".join(_require_text(value).split())
        if len(text) > most:
            raise ValueError(f"has {len(text):,} characters; at most {most} are allowed.")
        return text

    return read


def read_paragraphs(most_words: int = 1_000) -> Read:
    """Read a text of some paragraphs."""

    def read(value: Any) -> str:
        text = "\n".join(line.rstrip() for line in _require_text(value).strip().splitlines())
        if (words := len(text.split())) > most_words or len(text) > 12 * most_words:
            raise ValueError(f"has {words:,} words ({len(text):,} characters); at most {most_words:,} are allowed.")
        return text

    return read


def read_day(value: Any) -> str:
    """Read a day; returns it as in ISO 8601."""
    text = value.isoformat() if isinstance(value, date) else _require_text(value).strip()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"is {quote_name(text)}, which is no day. Give year-month-day, as 2026-06-30.") from None


def read_orcid(value: Any) -> str:
    """Read an ORCID iD, plain or as an address; its last character is a check digit (ISO 7064 MOD 11-2)."""
    text = _require_text(value).strip()
    found = _ORCID.fullmatch(text)
    if not found:
        raise ValueError(f"is {quote_name(text)}, which is no ORCID iD. Give 16 digits, as 0000-0002-1825-0097.")
    digits = "".join(found.groups()).upper()
    if digits[-1] != compute_check_digit(digits[:-1]):
        raise ValueError(f"is {quote_name(text)}, whose check digit is wrong. Copy the ORCID iD again.")
    return "-".join(digits[start : start + 4] for start in range(0, 16, 4))


def compute_check_digit(digits: str) -> str:
    """The check digit of a number by ISO 7064 MOD 11-2, as ORCID uses it."""
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2
    rest = (12 - total % 11) % 11
    return "X" if rest == 10 else str(rest)


def read_choice(known: Collection[str] | Mapping[str, str], others: Mapping[str, str] = {}) -> Read:
    """Read one of some words; case does not count, and `others` are further spellings."""

    def read(value: Any) -> str:
        return _find_word(_require_text(value), known, others)

    return read


def read_list(read_one: Read, *, all_means_all: bool = False) -> Read:
    """Read a list, or a single value; each once, in the order given. `all` stands alone where it is a word."""

    def read(value: Any) -> list[Any]:
        values = value if isinstance(value, list) else [value]
        is_all = [isinstance(each, str) and each.strip().lower() == ALL for each in values]
        if all_means_all and any(is_all):
            if len(values) > 1:
                raise ValueError(f"has {ALL} beside other names. Give {ALL} alone, or the names.")
            return [ALL]
        return list(dict.fromkeys(read_one(each) for each in values))

    return read


def read_duo(value: Any) -> str:
    """Read the code of a term of DUO."""
    known = {**duo_terms.CONDITIONS, **duo_terms.INVESTIGATIONS}
    return _find_word(_require_text(value).replace("_", ":"), known)


def read_mondo(value: Any) -> str:
    """Read the code of a disease in MONDO."""
    text = _require_text(value).strip()
    if not (found := _MONDO.fullmatch(text)):
        raise ValueError(f"is {quote_name(text)}, which is no code of MONDO. Give one as {duo_terms.COVID} (COVID-19).")
    return f"MONDO:{found[1]}"


def list_words(known: Iterable[str]) -> str:
    """The words of a list for a message: all, or the first of many."""
    words = list(known)
    more = f" … ({len(words)} in all)" if len(words) > _MOST_LISTED else ""
    return ", ".join(words[:_MOST_LISTED]) + more


def _find_word(text: str, known: Collection[str] | Mapping[str, str], others: Mapping[str, str] = {}) -> str:
    folded = {name.casefold(): name for name in known} | {name.casefold(): known for name, known in others.items()}
    word = " ".join(text.split()).casefold()
    if word in folded:
        return folded[word]
    near = suggest_nearest(word, known)
    raise ValueError(f"is {quote_name(text.strip())}, which is not known.{near} Allowed: {list_words(known)}.")


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text." if value is not None else "is empty.")
    if not value.strip():
        raise ValueError("is empty.")
    if _CONTROL.search(value):
        raise ValueError("has control characters.")
    if "an NHS number" in find_looks(value):
        raise ValueError("has what may be an NHS number. The log never forgets, so it has no identifier of a patient.")
    try:
        value.encode()
    except UnicodeError:
        raise ValueError("is not valid Unicode.") from None
    return value
