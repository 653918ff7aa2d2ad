"""What a notebook shows of an object (`_repr_html_`): a small table of facts, and at most a few rows.

Values come from outside: each is cut, its control characters and secrets are replaced, and it is escaped for HTML.
Nothing is asked of a lake for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from warehouse.masking import mask_secrets
from warehouse.text import escape_controls

#: Rows and columns that are shown, and characters of one value.
MOST_ROWS = 10
MOST_COLUMNS = 12
_MOST_CHARACTERS = 200
#: Characters that are searched for secrets: more than are shown, so that one which begins there is whole.
_MOST_SEARCHED = 2_000


def show_facts(title: str, facts: Mapping[str, object]) -> str:
    """A titled table of names and values; values that are empty are left out."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{show(name)}</th><td style='text-align:left'>{show(value)}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<div><strong>{show(title)}</strong><table>{rows}</table></div>"


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[object]], total: int) -> str:
    """Show the first rows as a table, and their number; an empty text without rows."""
    shown = [row[:MOST_COLUMNS] for row, _ in zip(rows, range(MOST_ROWS), strict=False)]
    if not shown:
        return ""
    head = "".join(f"<th>{show(name)}</th>" for name in columns[:MOST_COLUMNS])
    body = "".join(f"<tr>{''.join(f'<td>{show(value)}</td>' for value in row)}</tr>" for row in shown)
    rest = f"<div>{len(shown):,} of {total:,} rows</div>" if total > len(shown) else ""
    return f"<table><tr>{head}</tr>{body}</table>{rest}"


def show(value: object) -> str:
    """A value as HTML: on one line, cut, without secrets or characters that cannot be seen."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    text = mask_secrets(text[:_MOST_SEARCHED])
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[: _MOST_CHARACTERS - 1]}…"
    return escape(escape_controls(text, keep_lines=False))
