"""The order of the levels of a characteristic or label, and how their counts of patients are rounded, on every page.

The same patients may be counted by the same levels on several pages: as rows of one and as columns of another. A count
that was rounded in two ways could be intersected, so all of them round levels by this order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from warehouse.catalog.spelling import fold_origin
from warehouse.disclosure_control import Table, make_table, round_apart, round_parts, round_table
from warehouse.engine.names import fold_name
from warehouse.errors import UsageError

#: The groups of patients with several values, and with none. No value has their form.
SEVERAL, NO_VALUE = "(several)", "(missing)"
#: How pages that show codes as they are name the missing.
UNKNOWN = "not known"
_MISSING = (NO_VALUE, UNKNOWN)
_POSITIVE = "positive"
_STATUSES = {_POSITIVE, "negative"}
#: Columns whose values name a patient, or one of a patient's studies, series, images or files.
_IDENTIFIERS = frozenset(
    map(
        fold_name,
        (
            "patient_id",
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "SOPInstanceUID",
            "AccessionNumber",
            "key",
            "clinical_key",
        ),
    )
)


def require_levels(column: str, base: int) -> None:
    """UsageError for a column that identifies patients, if counts are rounded: the names of levels are shown."""
    if base and fold_name(column) in _IDENTIFIERS:
        raise UsageError(
            f"The values of {column} identify patients, and counts are rounded. Choose a column whose values several "
            "patients share."
        )


def order_levels(text: str) -> tuple[bool, bool, list[tuple[int, str]], str]:
    """The key that sorts names with their numbers as numbers, the groups of several or no values last.

    A centre and a vendor have one place, whatever spelling a page shows: each page chooses the most frequent one of its
    own rows, and in another order it would round other sums.
    """
    folded = fold_origin(text)
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", folded) if part]
    return text in _MISSING, text == SEVERAL, parts, text


def list_levels(levels: Iterable[str]) -> list[str]:
    """The levels in the order in which they are rounded, by the sums up to each.

    What the record leaves out is the same patients in many characteristics. Only positive patients have an admission,
    and those without a record no status: so positive is the first status.
    """
    found = sorted(set(levels), key=order_levels)
    if {*found} & _STATUSES and {*found} <= {*_STATUSES, SEVERAL, *_MISSING}:
        found.sort(key=lambda level: (level != _POSITIVE, order_levels(level)))
    return found


def is_last_missing(levels: Sequence[str]) -> bool:
    """Whether the last of these levels is that of missing values."""
    return bool(levels) and levels[-1] in _MISSING


def round_parts_in_turn(parts: Sequence[int], base: int, total: int | None = None) -> list[int]:
    """Round parts by the sums up to each. The steps of a cohort are rounded so too, maybe in another order.

    Two such roundings of the same patients leave two values or more of each count; one of them and one by largest
    remainders can leave a single one.
    """
    return round_parts(parts, base, total, nested=len(parts))


def round_levels(counts: Mapping[str, int], base: int) -> dict[str, int]:
    """Round the patients of each level."""
    levels = list_levels(counts)
    return dict(zip(levels, round_parts_in_turn([counts[level] for level in levels], base), strict=True))


def round_levels_by(counts: Mapping[tuple[str, str, str], int], base: int) -> Table:
    """Round the patients of each level by those of another, a table; a key is both and the patient's COVID-19 status.

    What only positive patients have, such as an admission, is rounded within the positive patients of the other level:
    so these are as many in such a table as in that of the statuses.
    """
    by_both, by_row, by_column = (_add_up(counts, *axes) for axes in ((0, 1), (2, 0), (2, 1)))
    if base and _is_of_positives(by_row):
        table = _round_within(by_both, by_column, base)
    elif base and _is_of_positives(by_column):
        turned = _round_within(_add_up(counts, 1, 0), by_row, base)
        cells = {(row, column): n for (column, row), n in turned.cells.items()}
        table = Table(turned.columns, turned.rows, cells, turned.column_totals, turned.row_totals, turned.total)
    else:
        table = _round_plain(by_both, base)
    rows, columns = (sorted(names, key=order_levels) for names in (table.rows, table.columns))
    return replace(table, rows=rows, columns=columns)


def _add_up(counts: Mapping[tuple[str, str, str], int], first: int, second: int) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for place, n in counts.items():
        found[place[first], place[second]] += n
    return found


def _is_of_positives(counts: Mapping[tuple[str, str], int]) -> bool:
    """Whether only positive patients have a level; `counts` are by status and level."""
    having = {status for (status, level), n in counts.items() if n and level not in _MISSING}
    return having == {_POSITIVE}


def _round_plain(counts: Mapping[tuple[str, str], int], base: int) -> Table:
    rows, columns = (list_levels(place[axis] for place in counts) for axis in (0, 1))
    return round_table(
        rows,
        columns,
        counts,
        base,
        nested_rows=len(rows),
        nested_columns=len(columns),
        row_apart=is_last_missing(rows),
        column_apart=is_last_missing(columns),
    )


def _round_within(counts: Mapping[tuple[str, str], int], statuses: Mapping[tuple[str, str], int], base: int) -> Table:
    """Round levels that only positive patients have, and with them the positive who have none."""
    all_of = _round_plain(statuses, base)
    levels = [level for level in list_levels(level for level, _ in counts) if level not in _MISSING]
    columns = list_levels(column for _, column in counts)
    true = [[counts.get((level, column), 0) for column in columns] for level in levels]
    known = [sum(row[j] for row in true) for j in range(len(columns))]
    true.append([statuses.get((_POSITIVE, column), 0) - n for column, n in zip(columns, known, strict=True)])
    of_columns = [all_of.cells.get((_POSITIVE, column), 0) for column in columns]
    of_rows = round_parts_in_turn([sum(row) for row in true], base, sum(of_columns))
    apart = is_last_missing(columns)
    cells = round_apart(true, of_rows, of_columns, base, row_apart=True, column_apart=apart)[:-1]
    totals = [all_of.column_totals.get(column, 0) for column in columns]
    cells.append([total - sum(row[j] for row in cells) for j, total in enumerate(totals)])
    missing = next((level for level, _ in counts if level in _MISSING), NO_VALUE)
    return make_table([*levels, missing], columns, cells, base)
