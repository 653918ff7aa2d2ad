"""A table in a box, in DuckDB's style but complete: every row and column, streamed. For files and pipes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from warehouse.engine.rows import fetch_first
from warehouse.engine.sql_files import identifier
from warehouse.text import escape_controls

if TYPE_CHECKING:
    import duckdb

_BATCH = 10_000
_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "float", "double", "decimal", "utinyint", "ubigint")
#: The names of types in DuckDB's own table.
_TYPES = {
    "tinyint": "int8",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "hugeint": "int128",
    "utinyint": "uint8",
    "usmallint": "uint16",
    "uinteger": "uint32",
    "ubigint": "uint64",
}
_MOST = 10_000  # rows held in memory to measure widths; with more rows, DuckDB measures them all first


def render_lines(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    """Render the lines of the table. Nulls are shown as NULL, control characters escaped."""
    names = [escape_controls(name, keep_lines=False) for name in relation.columns]
    kinds = [str(kind).lower() for kind in relation.types]
    shown = [_TYPES.get(kind, kind) for kind in kinds]
    rights = [kind.startswith(_NUMBERS) or (kind.startswith("u") and kind.endswith("int")) for kind in kinds]
    texts = relation.project(", ".join(f"cast({identifier(name)} as varchar)" for name in relation.columns))
    rows = _wrap_rows(texts)
    first = list(islice(rows, _MOST))
    measured = first if len(first) < _MOST else [*first, *_find_longest(texts)]
    widths = [max(map(len, column)) for column in zip(names, shown, *measured, strict=True)]

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def line(cells: Sequence[str], alignments: Sequence[str]) -> str:
        padded = (f"{cell:{align}{width}}" for cell, align, width in zip(cells, alignments, widths, strict=True))
        return f"│ {' │ '.join(padded)} │"

    alignments = [">" if right else "<" for right in rights]
    yield rule("┌", "┬", "┐")
    yield line(names, "^" * len(names))
    yield line(shown, "^" * len(names))
    yield rule("├", "┼", "┤") if first else rule("├", "┴", "┤")
    if not first:
        width = sum(widths) + 3 * len(widths) - 1
        yield f"│{'0 rows':^{width}}│"
        yield f"└{'─' * width}┘"
        return
    yield from (line(row, alignments) for row in first)
    yield from (line(row, alignments) for row in rows)
    yield rule("└", "┴", "┘")


def measure_widths(relation: duckdb.DuckDBPyRelation) -> list[int]:
    """Measure the width of each column, including its name and type."""
    texts = relation.project(", ".join(f"cast({identifier(name)} as varchar)" for name in relation.columns))
    kinds = [_TYPES.get(kind, kind) for kind in (str(kind).lower() for kind in relation.types)]
    return [max(map(len, column)) for column in zip(relation.columns, kinds, *_find_longest(texts), strict=True)]


def _wrap_rows(texts: duckdb.DuckDBPyRelation) -> Iterator[list[str]]:
    texts.execute()
    while batch := texts.fetchmany(_BATCH):
        for row in batch:
            yield ["NULL" if cell is None else escape_controls(cell, keep_lines=False) for cell in row]


def _find_longest(texts: duckdb.DuckDBPyRelation) -> list[list[str]]:
    """Return one row whose cells are as wide as the widest of each column."""
    most = fetch_first(texts.aggregate(", ".join(f"max(length({identifier(name)}))" for name in texts.columns)))
    assert most is not None
    return [["x" * (width or 4) for width in most]]
