"""Places in the text of a cohort: tokens, `$names`, and the line of each, since every mistake is reported with one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any


def find_line(text: str, at: int) -> int:
    """The line, from 1, of a place in a text."""
    return text.count("\n", 0, at) + 1


def tokenize(text: str) -> list[Any]:
    """The tokens of a text, each with its place."""
    import sqlglot

    return list(sqlglot.tokenize(text, dialect="duckdb"))


def find_placeholders(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each `$name` stands in a text: its first place, the one after it, and its name."""
    from sqlglot import TokenType

    tokens = tokenize(text)
    for sign, name in itertools.pairwise(tokens):
        if sign.token_type is TokenType.PARAMETER and text[sign.start] == "$" and name.start == sign.end + 1:
            yield sign.start, name.end + 1, name.text


def find_parse_line(text: str, place: dict[str, Any]) -> int:
    """The line of a parse error, by its place in the text: sqlglot's own number runs ahead after a `$`."""
    context = str(place.get("start_context") or "") + str(place.get("highlight") or "")
    at = text.find(context) if context else -1
    return find_line(text, at + len(context) - 1) if at >= 0 else int(place.get("line") or 1)


def find_open_quote(text: str) -> int:
    """The line of the last quote that is opened: what a tokenizer trips over."""
    return find_line(text, max(text.rfind("'"), text.rfind('"'), text.rfind("/*"), 0))


def find_deepest_line(text: str) -> int:
    """The line with most brackets open: where a text that is nested too deeply is so."""
    depth = most = at = 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth > most:
            most, at = depth, place
    return find_line(text, at)


def find_lines_of_code(text: str) -> Iterator[int]:
    """The numbers of the lines that are neither empty nor a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("--"):
            yield number
