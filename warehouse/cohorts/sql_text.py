"""Finds positions in the text of a cohort: tokens, `$names`, and their lines, because every error has a line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any


def find_line(text: str, at: int) -> int:
    """Return the line, from 1, of an offset in a text."""
    return text.count("\n", 0, at) + 1


def tokenize(text: str) -> list[Any]:
    """Return the tokens of a text, with their offsets."""
    import sqlglot

    return list(sqlglot.tokenize(text, dialect="duckdb"))


def find_placeholders(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the start, end and name of each `$name` in a text."""
    from sqlglot import TokenType

    tokens = tokenize(text)
    for sign, name in itertools.pairwise(tokens):
        if sign.token_type is TokenType.PARAMETER and text[sign.start] == "$" and name.start == sign.end + 1:
            yield sign.start, name.end + 1, name.text


def find_parse_line(text: str, place: dict[str, Any]) -> int:
    """Find the line of a parse error by its context, because sqlglot's own line number is wrong after a `$`."""
    context = str(place.get("start_context") or "") + str(place.get("highlight") or "")
    at = text.find(context) if context else -1
    return find_line(text, at + len(context) - 1) if at >= 0 else int(place.get("line") or 1)


def find_open_quote(text: str) -> int:
    """Find the line of the last opening quote or comment: the one that is not closed."""
    return find_line(text, max(text.rfind("'"), text.rfind('"'), text.rfind("/*"), 0))


def find_deepest_line(text: str) -> int:
    """Find the line with the deepest nesting of brackets."""
    depth = most = at = 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth > most:
            most, at = depth, place
    return find_line(text, at)


def find_lines_of_code(text: str) -> Iterator[int]:
    """Yield the numbers of the lines that are neither empty nor comments."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("--"):
            yield number
