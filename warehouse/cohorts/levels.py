"""The order of the levels of a characteristic or label, and how their counts of patients are rounded, on every page.

The same patients may be counted by the same levels on several pages: as rows of one and as columns of another. A count
that was rounded in two ways could be intersected, so all of them round levels by this order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from warehouse.disclosure_control import Table, make_table, round_apart, round_parts, round_table

#: The groups of patients with several values, and with none. No value has their form.
SEVERAL, NO_VALUE = "(several)", "(missing)"
#: How pages that show codes as they are name the missing.
UNKNOWN = "not known"
_MISSING = (NO_VALUE, UNKNOWN)
_POSITIVE = "positive"
_STATUSES = {_POSITIVE, "negative"}


def order_levels(text: str) -> tuple[bool, bool, list[tuple[int, str]]]:
    """The key that sorts names with their numbers as numbers, the groups of several or no values last."""
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]
    return text in _MISSING, text == SEVERAL, parts


def nest_levels(levels: Iterable[str]) -> tuple[list[str], int]:
    """The levels in the order in which they are rounded, and how many of the last are nested (`round_parts`).

    What the record leaves out is the same patients in many characteristics. Only positive patients have an admission,
    and those without a record no status: so positive is the first status, and all statuses are nested.
    """
    found = sorted(set(levels), key=order_levels)
    if {*found} & _STATUSES and {*found} <= {*_STATUSES, SEVERAL, *_MISSING}:
        found.sort(key=lambda level: (level != _POSITIVE, order_levels(level)))
        return found, len(found)
    return found, sum(level in _MISSING for level in found)


def round_levels(counts: Mapping[str, int], base: int) -> dict[str, int]:
    """Round the patients of each level."""
    levels, nested = nest_levels(counts)
    return dict(zip(levels, round_parts([counts[level] for level in levels], base, nested=nested), strict=True))


def round_levels_by(counts: Mapping[tuple[str, str], int], base: int) -> Table:
    """Round the patients of each level by those of another: a table, in the order in which levels are shown."""
    (rows, nested_rows), (columns, nested_columns) = (nest_levels(place[axis] for place in counts) for axis in (0, 1))
    return _sort(round_table(rows, columns, counts, base, nested_rows=nested_rows, nested_columns=nested_columns))


def round_levels_of_positives(
    counts: Mapping[tuple[str, str], int],
    statuses: Mapping[tuple[str, str], int],
    base: int,
) -> Table:
    """The same of levels that only positive patients have, beside the table of the statuses of the same patients.

    All who have a level and those of the positive who have none are rounded to the positive of the other table, so that
    a column's positive patients are rounded in one way in both. As any other table if not only the positive have one.
    """
    known: Counter[str] = Counter()
    for (level, column), n in counts.items():
        known[column] += n * (level != NO_VALUE)
    columns, nested = nest_levels(column for _, column in statuses)
    positive = [statuses.get((_POSITIVE, column), 0) for column in columns]
    if any(known[column] > n for column, n in zip(columns, positive, strict=True)):
        return round_levels_by(counts, base)
    all_of = round_levels_by(statuses, base)
    levels = [level for level in nest_levels(level for level, _ in counts)[0] if level != NO_VALUE]
    true = [[counts.get((level, column), 0) for column in columns] for level in levels]
    true.append([n - known[column] for column, n in zip(columns, positive, strict=True)])
    of_columns = [all_of.cells.get((_POSITIVE, column), 0) for column in columns]
    of_rows = round_parts([sum(row) for row in true], base, sum(of_columns), nested=1)
    cells = round_apart(true, of_rows, of_columns, base, row_apart=True, column_apart=nested > 0)[:-1]
    totals = [all_of.column_totals.get(column, 0) for column in columns]
    cells.append([total - sum(row[j] for row in cells) for j, total in enumerate(totals)])
    return _sort(make_table([*levels, NO_VALUE], columns, cells, base))


def _sort(table: Table) -> Table:
    rows, columns = (sorted(names, key=order_levels) for names in (table.rows, table.columns))
    return replace(table, rows=rows, columns=columns)
