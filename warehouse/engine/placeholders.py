"""Texts that DuckLake would change: it replaces its placeholders in the SQL of a commit, within literals too.

DuckLake writes the minimum and maximum of each column of a file, texts of a commit and paths as literals into that SQL,
and then replaces `{SNAPSHOT_ID}`, `{DATA_PATH}` and a dozen others in all of it (SubstituteSnapshotPlaceholders and
SubstituteCatalogPlaceholders of its ducklake_metadata_manager.cpp). A value with such a word would falsify the
statistics by which files are left out of an answer, or break the commit; one that is asked for would be compared as
another. So no such value is written or asked for: any word of three capitals or more in braces counts, as a later
DuckLake may know more of them. One letter is none: regular expressions have `\\p{L}`.

Nor is a text with a NUL stored or looked for: DuckLake writes what a query compares a column with into its own
statement, and ends it there, with the quotation mark still open, so that the next value would be run as SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from warehouse.errors import UsageError

#: The same for Python's `re` and for RE2. Keys of JSON are in quotes, so a brace before a capital is rare.
PATTERN = r"\{[A-Z][A-Z_]{2,}\}"
#: Where a text ends for DuckLake.
NUL = "\0"
#: What is stored in the place of a NUL, as Unicode advises for a character that cannot be shown.
REPLACEMENT = "\ufffd"
_PLACEHOLDER = re.compile(PATTERN)
#: A NUL in JSON, after the backslashes that are escaped themselves.
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def has_placeholder(text: str) -> bool:
    """Whether a text cannot be stored."""
    return _PLACEHOLDER.search(text) is not None


def replace_nuls(json_text: str) -> str:
    """A JSON text with another character for each NUL in its texts."""
    return _ESCAPED_NUL.sub(rf"\1{REPLACEMENT}", json_text)


def escape_placeholders(text: str) -> str:
    """The text in a spelling that is safe: the closing brace as `\\x7d`, as bytes of a key are that are no UTF-8."""
    text = text.replace(NUL, "\\x00").encode("utf-8", "backslashreplace").decode()
    return _PLACEHOLDER.sub(lambda found: f"{found[0][:-1]}\\x7d", text)


def refuse_placeholders(what: str, *texts: object) -> None:
    """Raise UsageError for what a user gave and that has such a word: it can neither be stored nor be looked for.

    Nor can a text with a NUL or half of a character, at any depth of lists and mappings.
    """
    for text in _list_texts(texts):
        if found := _PLACEHOLDER.search(text):
            raise UsageError(
                f"{what} has {found[0][:40]}. DuckLake, which stores the lake, may replace a word of capitals in "
                "braces: write it without them."
            )
        if NUL in text:
            raise UsageError(f"{what} has a zero byte, where a text ends for DuckLake: write it without.")
        try:
            text.encode()
        except UnicodeError:
            raise UsageError(f"{what} is not valid UTF-8.") from None


def _list_texts(values: Iterable[object]) -> Iterator[str]:
    """Every text in values, which may be lists and mappings of any depth."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        else:
            yield str(value)
