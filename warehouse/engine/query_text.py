"""Reads the texts that a user names: queries, cohorts, lists of values. UTF-8, not endless, nothing hidden in them."""

from __future__ import annotations

import re
from pathlib import Path

from warehouse.errors import UsageError

#: What a file may have; the list of all identifiers of the database goes in.
MOST_BYTES = 16_000_000

#: Control characters, what begins a new line for some readers and not for others, and the byte order mark.
_HIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff]|\r(?!\n)")


def read_text(path: Path | str, most: int = MOST_BYTES) -> str:
    """The text of a file; UsageError when it cannot be read, has more bytes than `most`, or is not text in UTF-8."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if len(content) > most:
        raise UsageError(f"{path} cannot be read: it has more than {most:,} bytes.")
    if content.startswith(b"\xef\xbb\xbf"):
        raise UsageError(f"{path} begins with a byte order mark: save it as UTF-8 without one.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} cannot be read: it is not text in UTF-8.") from None


def check_query_text(sql: str) -> None:
    """UsageError for a query that DuckDB cannot take: it is not UTF-8, or has a NUL byte, where it would be cut."""
    try:
        sql.encode()
    except UnicodeError:
        raise UsageError("The query is not valid UTF-8.") from None
    if "\0" in sql:
        raise UsageError("A query has no zero bytes.")


def find_hidden(text: str) -> tuple[int, str] | None:
    """The line (from 1) and the name of the first character that a reader would not see or takes otherwise than SQL."""
    found = _HIDDEN.search(text)
    return (text.count("\n", 0, found.start()) + 1, f"U+{ord(found[0][0]):04X}") if found else None


def shorten(text: str, most: int = 4_000) -> str:
    """A text that may be of any length, to be shown in a message: one that is longer lacks its middle."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"
