"""Statistical disclosure control: rounds counts to a base, and tables so that their cells add up to rounded totals.

The method is controlled rounding (Cox and Ernst 1982, INFOR 20; Hundepool et al. 2012, Statistical Disclosure Control,
chapter 5). A total is rounded down to a multiple of the base, so that every multiple stands for as many counts as any
other. Its parts are rounded to the multiple below or above them, so that they add up to it. What is published is
therefore itself a table that could be true. A count from 1 to base - 1 is never a multiple of the base, so it differs
from what is published of it: a reader always has at least two tables to choose from. Whatever is computed from rounded
counts alone (totals, shares, associations, losses) discloses no more than they do. No secondary suppression is needed,
and no zero suppresses a table.

Counts alone are known here. A base of 0 or 1 changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def round_count(count: int, base: int) -> int:
    """A count rounded down to a multiple of the base; one that is less than the base becomes 0."""
    return count - count % base if base > 1 else count


def round_parts(parts: Sequence[int], base: int, total: int | None = None) -> list[int]:
    """Counts to the multiple of the base below or above them, so that they add up to a total that is rounded already.

    By default the total is their rounded sum. The largest remainders are rounded up; of equal ones the first.
    """
    if base < 2:
        return list(parts)
    rounded = [part - part % base for part in parts]
    up = ((round_count(sum(parts), base) if total is None else total) - sum(rounded)) // base
    for place in sorted(range(len(parts)), key=lambda place: -(parts[place] % base))[:up]:
        rounded[place] += base
    return rounded


def round_regions(regions: Mapping[str, int], base: int) -> dict[str, int]:
    """Sizes of the regions of a Venn diagram, rounded together; a key has a digit for each set: 1 in it, 0 not.

    Sums of regions are consistent, whatever is united, subtracted or nested: an empty region stays empty, and all
    others are multiples of the base that could be true. Regions are put in order by their digits, the first digit
    counting most, and the sizes up to each region are rounded down. So the first set, and each set that the regions up
    to some place make up, as those of nested sets whose smallest is first, is its size rounded down. A region may be
    off by base - 1; a set of regions that are not neighbours, by as much for each run of neighbours.
    """
    rounded, before, sum_so_far = {}, 0, 0
    for region in sorted(regions, reverse=True):
        sum_so_far += regions[region]
        upto = round_count(sum_so_far, base)
        rounded[region], before = upto - before, upto
    return rounded


@dataclass(frozen=True, slots=True)
class Table:
    """A table of counts with its margins, as it may be shown; rows and columns are in the order of their names."""

    rows: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], int]
    row_totals: dict[str, int]
    column_totals: dict[str, int]
    total: int


def round_table(rows: Sequence[str], columns: Sequence[str], counts: Mapping[tuple[str, str], int], base: int) -> Table:
    """A table of counts by row and column: its total is rounded, the columns add up to it, and their cells to them.

    A row or column of which nothing is left is left out: that it has a name would say that it is not empty. Tables of
    the same columns and the same counts of them have the same totals.
    """
    true = [[counts.get((row, column), 0) for row in rows] for column in columns]
    totals = round_parts([sum(column) for column in true], base)
    rounded = [round_parts(column, base, total) for column, total in zip(true, totals, strict=True)]
    cells = {(r, c): rounded[j][i] for j, c in enumerate(columns) for i, r in enumerate(rows)}
    kept_rows = [r for r in rows if base < 2 or any(cells[r, c] for c in columns)]
    kept_columns = [c for c, total in zip(columns, totals, strict=True) if base < 2 or total]
    return Table(
        kept_rows,
        kept_columns,
        {(r, c): cells[r, c] for r in kept_rows for c in kept_columns},
        {r: sum(cells[r, c] for c in columns) for r in kept_rows},
        {c: total for c, total in zip(columns, totals, strict=True) if c in kept_columns},
        sum(totals),
    )


def format_rounded(count: int, base: int) -> str:
    """A count of something that is there, in words: "under 5" where rounding left 0 of it."""
    return f"under {base:,}" if not count and base > 1 else f"{count:,}"
