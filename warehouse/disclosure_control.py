"""Statistical disclosure control: rounds counts to a base, and tables so that their cells add up to rounded totals.

The method is controlled rounding (Cox and Ernst 1982, INFOR 20; Hundepool et al. 2012, Statistical Disclosure Control,
chapter 5). A total is rounded down to a multiple of the base, so that every multiple stands for equally many counts.
Its parts are rounded to the multiple below or above them, so that they add up to it. The published table is therefore
itself possible. A count from 1 to base - 1 is never a multiple of the base, so it differs from the published one: at
least two tables are always consistent with the published one. Rows and columns of a table are rounded as they are by
themselves: several tables of the same patients then show each number in one way, and cannot be intersected. Anything
computed only from rounded counts (totals, shares, associations, losses) discloses no more than they do. No secondary
suppression is needed, and no zero suppresses a table.

This module knows only counts. A base of 0 or 1 changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: The cells of a table, a list per row.
Cells = list[list[int]]


def round_count(count: int, base: int) -> int:
    """Round a count down to a multiple of the base; a count below the base becomes 0."""
    return count - count % base if base > 1 else count


def find_unit(most: int, base: int) -> int:
    """The unit that a number of something is rounded down to, of which a patient has `most` or less: studies, objects.

    `base` patients have no more than a unit together, so a rounded number stands for as many numbers of patients as the
    base, even if all patients have equally many. From 2 each on it is the next 1, 2 or 5 with zeros, and at least that
    of 4 each, so that it discloses little about the patient with most.
    """
    if base < 2 or most < 2:
        return base
    most = max(most, 4)
    zeros = int("1".ljust(len(str(most * base - 1)), "0"))
    return next(unit for unit in (zeros, 2 * zeros, 5 * zeros, 10 * zeros) if unit >= most * base)


def round_parts(parts: Sequence[int], base: int, total: int | None = None, nested: int = 0) -> list[int]:
    """Round counts to the multiple of the base below or above them, so that they add up to a rounded total.

    By default the total is their rounded sum; it may be the multiple above that. The largest remainders are rounded up;
    of equal ones the first. The last `nested` parts are rounded by the sums up to them: a set that several lists leave
    over (missing values) and the rest are then shown in one way in all of them, whatever else they have. By remainders
    it could be rounded up in one, which only large remainders are, and down in another, and would be known.
    """
    if base < 2:
        return list(parts)
    whole, first = sum(parts), len(parts) - nested
    # A total that was rounded up: all sums are shifted by what it lacks.
    sum_so_far = sum(parts[:first]) + (0 if total is None else max(0, total - whole))
    before = round_count(sum_so_far, base)
    rounded = [part - part % base for part in parts[:first]]
    up = (before - sum(rounded)) // base
    for place in sorted(range(first), key=lambda place: -(parts[place] % base))[:up]:
        rounded[place] += base
    for part in parts[first:]:
        sum_so_far += part
        upto = round_count(sum_so_far, base)
        rounded.append(upto - before)
        before = upto
    return rounded


def round_regions(regions: Mapping[str, int], base: int) -> dict[str, int]:
    """Round the sizes of the regions of a Venn diagram together; a key has a digit per set: 1 if in it, else 0.

    Sums of regions are consistent under union, difference and nesting: an empty region stays empty, and all others are
    possible multiples of the base. Regions are sorted by their digits, the first being the most significant, and the
    cumulative sizes are rounded down. So the first set, and each set that consists of the first regions (such as nested
    sets, smallest first), gets its size rounded down. A region may be off by base - 1; a set of non-adjacent regions,
    by as much for each run of adjacent ones.
    """
    rounded, before, sum_so_far = {}, 0, 0
    for region in sorted(regions, reverse=True):
        sum_so_far += regions[region]
        upto = round_count(sum_so_far, base)
        rounded[region], before = upto - before, upto
    return rounded


@dataclass(frozen=True, slots=True)
class Table:
    """A table of counts with its margins, safe to publish; rows and columns are sorted by name."""

    rows: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], int]
    row_totals: dict[str, int]
    column_totals: dict[str, int]
    total: int


def round_table(
    rows: Sequence[str],
    columns: Sequence[str],
    counts: Mapping[tuple[str, str], int],
    base: int,
    *,
    nested_rows: int = 0,
    nested_columns: int = 0,
    row_apart: bool = False,
    column_apart: bool = False,
) -> Table:
    """Round a table of counts: rows and columns each as they are by themselves, and the cells to add up to both.

    Rows and columns rounded to 0 are omitted, because their names would disclose that they are not empty. A total is
    the same in each table that has these rows or columns, in the same order. The last ones may be nested
    (`round_parts`), and the very last apart (`round_apart`).
    """
    true = [[counts.get((row, column), 0) for column in columns] for row in rows]
    of_rows = round_parts([sum(row) for row in true], base, nested=nested_rows)
    of_columns = round_parts([sum(column) for column in _turn(true, columns)], base, nested=nested_columns)
    rounded = round_apart(true, of_rows, of_columns, base, row_apart=row_apart, column_apart=column_apart)
    return make_table(rows, columns, rounded, base)


def make_table(rows: Sequence[str], columns: Sequence[str], rounded: Cells, base: int) -> Table:
    """Make a table of rounded cells, without the rows and columns that were rounded to 0."""
    kept_rows = [i for i in range(len(rows)) if base < 2 or any(rounded[i])]
    kept_columns = [j for j in range(len(columns)) if base < 2 or any(row[j] for row in rounded)]
    return Table(
        [rows[i] for i in kept_rows],
        [columns[j] for j in kept_columns],
        {(rows[i], columns[j]): rounded[i][j] for i in kept_rows for j in kept_columns},
        {rows[i]: sum(rounded[i]) for i in kept_rows},
        {columns[j]: sum(row[j] for row in rounded) for j in kept_columns},
        sum(map(sum, rounded)),
    )


def round_apart(
    true: Cells, of_rows: list[int], of_columns: list[int], base: int, *, row_apart: bool, column_apart: bool
) -> Cells:
    """Round the cells of a table to rounded totals of its rows and of its columns; a last one may be apart.

    It is that of missing values, which tables may have in common: it depends on its own cells and the totals alone, and
    not on how the rest is divided, and is shown in one way in all of them.
    """
    if base < 2 or not true or not of_columns:
        return [[*row] for row in true]
    last_row = _round_last(true, of_rows, of_columns, base, column_apart) if row_apart else []
    last_column = _round_last(_turn(true), of_columns, of_rows, base, row_apart) if column_apart else []
    height, width = len(of_rows) - row_apart, len(of_columns) - column_apart
    inner = round_cells(
        [row[:width] for row in true[:height]],
        [n - sum(last_column[i : i + 1]) for i, n in enumerate(of_rows[:height])],
        [n - sum(last_row[j : j + 1]) for j, n in enumerate(of_columns[:width])],
        base,
    )
    cells = [[*row, *last_column[i : i + 1]] for i, row in enumerate(inner)]
    return [*cells, last_row] if row_apart else cells


def _round_last(true: Cells, of_rows: list[int], of_columns: list[int], base: int, column_apart: bool) -> list[int]:
    """Round the last row of a table beside the sum of the others; if the last column is apart, that cell first."""
    two = [[sum(column[:-1]) for column in _turn(true)], true[-1]]
    totals = [sum(of_rows[:-1]), of_rows[-1]]
    if not column_apart:
        return round_cells(two, totals, of_columns, base)[1]
    corner = round_cells(
        [[sum(row[:-1]), row[-1]] for row in two], totals, [sum(of_columns[:-1]), of_columns[-1]], base
    )
    rest = round_cells([row[:-1] for row in two], [row[0] for row in corner], of_columns[:-1], base)
    return [*rest[1], corner[1][1]]


def _turn(cells: Cells, columns: Sequence[object] = ()) -> Cells:
    """Turn a table: its columns are the rows."""
    return [[*column] for column in zip(*cells, strict=True)] if cells else [[] for _ in columns]


def round_cells(true: Cells, of_rows: list[int], of_columns: list[int], base: int) -> Cells:
    """Round the cells of a table so that they add up to rounded totals of its rows and its columns.

    A cell is rounded down or up: up are the first that the totals allow, because the largest remainders would disclose
    which they are to whoever has a row or a column in another rounding (the steps of a cohort). Where there is no such
    table, a cell is raised that is a multiple of the base, even 0: otherwise a total would have to be shown in another
    way than elsewhere. A table that is turned, with its rows for columns, has the same cells.
    """
    if (turned := _turn(true, of_columns), of_columns, of_rows) < (true, of_rows, of_columns):
        return _turn(_raise_cells(turned, of_columns, of_rows, base), of_rows)
    return _raise_cells(true, of_rows, of_columns, base)


def _raise_cells(true: Cells, of_rows: list[int], of_columns: list[int], base: int) -> Cells:
    """Round all cells down, and raise as many in each row and column as its total lacks."""
    down = [[n - n % base for n in row] for row in true]
    lack_of_rows = [(total - sum(row)) // base for total, row in zip(of_rows, down, strict=True)]
    lack = [(total - sum(row[j] for row in down)) // base for j, total in enumerate(of_columns)]
    raised = [[0] * len(of_columns) for _ in true]
    places = [(i, j) for i, row in enumerate(true) for j, n in enumerate(row) if n % base]
    for i, j in places:
        if lack_of_rows[i] > 0 and lack[j] > 0:
            raised[i][j] = 1
            lack_of_rows[i], lack[j] = lack_of_rows[i] - 1, lack[j] - 1
    # Cells with a remainder first; then any other; a cell is raised twice only where there is no other way.
    rules: list[Callable[[int, int], bool]] = [
        lambda i, j: not raised[i][j] and true[i][j] % base > 0,
        lambda i, j: not raised[i][j],
        lambda _i, _j: True,
    ]
    for i, n in enumerate(lack_of_rows):
        for _ in range(n):
            any(_raise_in_row(i, raised, lack, may_rise) for may_rise in rules)
    return [[n + base * up for n, up in zip(*rows, strict=True)] for rows in zip(down, raised, strict=True)]


def _raise_in_row(start: int, raised: Cells, lack: list[int], may_rise: Callable[[int, int], bool]) -> bool:
    """Raise one more cell of a row, if other rows can raise cells in other columns for it until a column that lacks one
    has it: a path through rows and columns, found breadth first. Returns whether there is one."""
    row_of: dict[int, int] = {}
    column_of: dict[int, int] = {}
    rows = [start]
    for row in rows:
        for column in range(len(lack)):
            if column in row_of or not may_rise(row, column):
                continue
            row_of[column] = row
            if lack[column] > 0:
                lack[column] -= 1
                _raise_along(column, start, row_of, column_of, raised)
                return True
            for other, ups in enumerate(raised):
                if other != start and other not in column_of and ups[column]:
                    column_of[other] = column
                    rows.append(other)
    return False


def _raise_along(
    column: int, start: int, row_of: Mapping[int, int], column_of: Mapping[int, int], raised: Cells
) -> None:
    """Go back from a column to the first row: each row raises the next column, and lowers the one it was found by."""
    while True:
        row = row_of[column]
        raised[row][column] += 1
        if row == start:
            return
        column = column_of[row]
        raised[row][column] -= 1


def format_rounded(count: int, base: int) -> str:
    """Format the count of something that exists: "under 5" if it was rounded to 0."""
    return f"under {base:,}" if not count and base > 1 else f"{count:,}"
