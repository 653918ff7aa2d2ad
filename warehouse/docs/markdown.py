"""Tables in Markdown."""

from collections.abc import Callable, Iterable, Sequence


def escape_bars(cell: object) -> str:
    """A text of our own as a cell: a bar in it ends no cell."""
    return str(cell).replace("|", "\\|")


def format_table(
    heads: Sequence[str], rows: Iterable[Iterable[object]], show: Callable[[object], str] = escape_bars
) -> str:
    """A table; `show` writes each cell, so that nothing in it becomes markup."""
    lines = ["| " + " | ".join(map(show, row)) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])
