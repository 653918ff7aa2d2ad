"""Statistical disclosure control: rounds counts to a base, and tables so that their cells add up to rounded totals.

The method is controlled rounding (Cox and Ernst 1982, INFOR 20; Hundepool et al. 2012, Statistical Disclosure Control,
chapter 5). A total is rounded down to a multiple of the base, so that every multiple stands for equally many counts.
Its parts are rounded to the multiple below or above them, so that they add up to it. The published table is therefore
itself possible. A count from 1 to base - 1 is never a multiple of the base, so it differs from the published one: at
least two tables are always consistent with the published one. Anything computed only from rounded counts (totals,
shares, associations, losses) discloses no more than they do. No secondary suppression is needed, and no zero suppresses
a table.

This module knows only counts. A base of 0 or 1 changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
) -> Table:
    """Round a table of counts: the total first, the columns so that they add up to it, and the cells to their columns.

    Rows and columns rounded to 0 are omitted, because their names would disclose that they are not empty. Tables with
    the same columns and column counts have the same totals. The last rows and columns may be nested (`round_parts`).
    """
    true = [[counts.get((row, column), 0) for row in rows] for column in columns]
    totals = round_parts([sum(column) for column in true], base, nested=nested_columns)
    rounded = [round_parts(column, base, total, nested_rows) for column, total in zip(true, totals, strict=True)]
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
    """Format the count of something that exists: "under 5" if it was rounded to 0."""
    return f"under {base:,}" if not count and base > 1 else f"{count:,}"
