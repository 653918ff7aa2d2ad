"""Lays a table 1 out as text: long names are wrapped, and groups that do not fit follow in further blocks."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from warehouse.cohorts import table1_lines
from warehouse.cohorts.table1 import Table1
from warehouse.text import escape_controls

#: Spaces between columns; the least width of the first column and the greatest of a head; the greatest of a note.
_GAP, _LEAST, _HEAD, _NOTE = 2, 32, 18, 120

#: The lines of each cell of a row; the first column has the name.
_Row = Sequence[Sequence[str]]


def render_lines(made: Table1, numeric: str, width: int) -> list[tuple[str, str]]:
    """Render as lines, each with its style for a terminal of this width."""
    stubs = table1_lines.list_stubs(made, numeric, share="")
    heads = [_wrap(head, _HEAD) for head in table1_lines.list_heads(made)]
    columns = [[head, *([_show(stub.cells[place])] for stub in stubs)] for place, head in enumerate(heads)]
    widths = [_measure(column) + _GAP for column in columns]
    first = [["n (%)"], *_wrap_names(stubs, max(_LEAST, width - 1 - sum(widths)))]
    styles = ["bold", *("" if stub.is_level else "bold" for stub in stubs)]
    found = [(_show(made.title), "bold"), (_show(made.source), "dim")]
    for block in _divide(widths, width - 1 - _measure(first)):
        found.append(("", ""))
        for number, style in enumerate(styles):
            row = [first[number], *(columns[place][number] for place in block)]
            found += [(line, style) for line in _lay_out(row, [_measure(first), *(widths[place] for place in block)])]
    notes = [line for note in table1_lines.list_notes(made) for line in wrap(_show(note), min(width - 1, _NOTE))]
    return [*found, ("", ""), *((note, "dim") for note in notes)]


def _show(text: str) -> str:
    return escape_controls(text, keep_lines=False)


def _wrap(text: str, width: int) -> list[str]:
    return wrap(_show(text), width, break_long_words=False, break_on_hyphens=False) or [""]


def _wrap_names(stubs: Sequence[table1_lines.Stub], width: int) -> list[list[str]]:
    """The names of the first column, levels indented, what does not fit on further lines and indented more."""
    return [
        [("  " * stub.is_level + "  " * (place > 0)) + line for place, line in enumerate(_wrap(stub.text, width - 4))]
        for stub in stubs
    ]


def _divide(widths: Sequence[int], room: int) -> list[list[int]]:
    """Divide the columns into blocks that fit the room beside the first column; a block has at least one."""
    blocks: list[list[int]] = [[]]
    left = room
    for place, width in enumerate(widths):
        if width > left and blocks[-1]:
            blocks.append([])
            left = room
        blocks[-1].append(place)
        left -= width
    return blocks


def _measure(column: _Row) -> int:
    from rich.cells import cell_len

    return max(cell_len(line) for cell in column for line in cell)


def _lay_out(row: _Row, widths: Sequence[int]) -> list[str]:
    """Lay the cells of a row out beside each other, aligned at their last lines: the first left, others right."""
    from rich.cells import cell_len

    height = max(map(len, row))
    name, *cells = [[*[""] * (height - len(cell)), *cell] for cell in row]
    return [
        (
            name[at]
            + " " * (widths[0] - cell_len(name[at]))
            + "".join(
                " " * (width - cell_len(cell[at])) + cell[at] for cell, width in zip(cells, widths[1:], strict=True)
            )
        ).rstrip()
        for at in range(height)
    ]
