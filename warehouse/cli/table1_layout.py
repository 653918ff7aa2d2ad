"""Lays a table 1 out as text: long names are wrapped, and groups that do not fit follow in further blocks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from warehouse.cli.terminal import create_console
from warehouse.cohorts import table1_lines
from warehouse.cohorts.table1 import Table1
from warehouse.text import escape_controls

if TYPE_CHECKING:
    from warehouse.cohorts.demographics import Demographics

#: The width of text without a terminal.
UNLIMITED = 100_000
#: Spaces between columns; the least width of the first column and the greatest of a head; the greatest of a note.
_GAP, _LEAST, _HEAD, _NOTE = 2, 32, 18, 120

#: The lines of each cell of a row; the first column has the name.
_Row = Sequence[Sequence[str]]


def print_lines(lines: Sequence[tuple[str, str]]) -> None:
    """Print lines, each in its style."""
    out = create_console(soft_wrap=True)
    for line, style in lines:
        out.print(line, style=style or None)


def find_width() -> int:
    """The width of the terminal; without one, text is as wide as it needs to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED


def print_demographics(title: str, source: str, steps: Sequence[Demographics], suppress: int) -> None:
    """Print the demographics of a cohort's steps, a column for each step."""
    from warehouse.cohorts import demographics_lines

    heads = demographics_lines.list_heads(steps)
    stubs = demographics_lines.list_stubs(steps, suppress)
    print_lines(_lay_out_table(title, source, heads, stubs, demographics_lines.list_notes(suppress), find_width()))


def render_lines(made: Table1, numeric: str, width: int) -> list[tuple[str, str]]:
    """Render as lines, each with its style for a terminal of this width."""
    stubs = table1_lines.list_stubs(made, numeric, share="")
    notes = table1_lines.list_notes(made)
    return _lay_out_table(made.title, made.source, table1_lines.list_heads(made), stubs, notes, width)


def _lay_out_table(
    title: str,
    source: str,
    names: Sequence[str],
    stubs: Sequence[table1_lines.Stub],
    notes: Sequence[str],
    width: int,
) -> list[tuple[str, str]]:
    heads = [_wrap(name, _HEAD) for name in names]
    columns = [[head, *([_show(stub.cells[place])] for stub in stubs)] for place, head in enumerate(heads)]
    widths = [_measure(column) + _GAP for column in columns]
    first = [["n (%)"], *_wrap_names(stubs, max(_LEAST, width - 1 - sum(widths)))]
    styles = ["bold", *("" if stub.is_level else "bold" for stub in stubs)]
    found = [(_show(title), "bold"), (_show(source), "dim")]
    for block in _divide(widths, width - 1 - _measure(first)):
        found.append(("", ""))
        for number, style in enumerate(styles):
            row = [first[number], *(columns[place][number] for place in block)]
            found += [(line, style) for line in _lay_out(row, [_measure(first), *(widths[place] for place in block)])]
    found.append(("", ""))
    return [*found, *((line, "dim") for note in notes for line in wrap(_show(note), min(width - 1, _NOTE)))]


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
