"""The lines and notes of a table 1, as text: the same in every form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

from warehouse.cohorts.group_statistics import FEWEST
from warehouse.cohorts.levels import NO_VALUE, SEVERAL
from warehouse.cohorts.table1 import OVERALL, Characteristic, Table1

#: How a number may be summarised, with the end of its title.
NUMERIC = {"mean": "mean (SD)", "median": "median [Q1,Q3]"}
#: The end of the title of a characteristic that has levels.
SHARE = ", n (%)"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table; `level` is "" for a number, and for a characteristic that nobody has."""

    title: str
    level: str
    missing: str
    cells: tuple[str, ...]
    smd: str


@dataclass(frozen=True, slots=True)
class Stub:
    """A line whose characteristic or level is one text; a characteristic of levels has a line of its own."""

    text: str
    is_level: bool
    cells: tuple[str, ...]


def list_heads(table: Table1) -> list[str]:
    """The heads of the columns after the characteristic: Missing, Overall, each group, SMD."""
    return ["Missing", *table.columns, *(["SMD"] if table.by else [])]


def list_lines(table: Table1, numeric: str) -> list[Line]:
    """The lines in the order of tableone: missing and SMD are in the first line of a characteristic."""
    lines = [Line("Patients, n", "", "", tuple(f"{table.n[column]:,}" for column in table.columns), "")]
    for found in table.characteristics:
        missing, smd = f"{found.count(NO_VALUE, OVERALL):,}", _format_smd(found, table)
        if found.is_number:
            cells = tuple(_format_summary(found, column, numeric, table.suppress) for column in table.columns)
            lines.append(Line(f"{found.title}, {NUMERIC[numeric]}", "", missing, cells, smd))
            continue
        title = f"{found.title}{SHARE}"
        for place, level in enumerate(found.levels):
            cells = tuple(_format_share(found, level, column) for column in table.columns)
            lines.append(Line(title, level, "" if place else missing, cells, "" if place else smd))
        if not found.levels:
            lines.append(Line(title, "", missing, ("",) * len(table.columns), ""))
    return lines


def _format_share(found: Characteristic, level: str, column: str) -> str:
    n, known = found.count(level, column), found.count_known(column)
    return f"{n:,} ({100 * n / known:.1f})" if known else "–"


def _format_summary(found: Characteristic, column: str, numeric: str, suppress: int) -> str:
    summary, digits = found.summaries.get(column), 0 if suppress > 1 else 1
    if summary is None or summary.mean is None:
        return f"n < {FEWEST}" if suppress > 1 else ""
    if numeric == "mean":
        return f"{summary.mean:.{digits}f} ({_format_number(summary.sd, digits)})"
    quartiles = f"{_format_number(summary.q1, digits)},{_format_number(summary.q3, digits)}"
    return f"{_format_number(summary.median, digits)} [{quartiles}]"


def _format_number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _format_smd(found: Characteristic, table: Table1) -> str:
    largest = found.find_largest()
    return f"{largest[1]:.{2 if table.suppress > 1 else 3}f}" if largest else "–" if table.by else ""


def list_notes(table: Table1) -> list[str]:
    """The notes that a reader of the table needs."""
    denominators = "all patients" if table.is_missing_counted else "patients with a value, without the missing"
    notes = [
        f"Each patient counts once. Percentages are of {denominators}. Modality: all that a patient's images in the "
        "cohort have."
    ]
    if table.by:
        pairs = "the largest of all pairs of groups" if len(table.groups) > 2 else "between the groups"
        special = [name for name in (SEVERAL, NO_VALUE) if name in table.groups]
        aside = f"; {' and '.join(special)} not compared" if special else ""
        notes.append(f"Groups: {table.by}. SMD: standardised difference, {pairs}{aside}.")
        if SEVERAL in table.groups:
            notes.append(f"{SEVERAL}: patients whose rows have more than one value of {table.by}.")
    if table.suppress > 1:
        notes.append(
            f"Counts are rounded to multiples of {table.suppress:,} so that they add up: one may be off by up to "
            f"{table.suppress - 1:,}, one of a level and group rarely by more. Levels and groups that "
            "round to 0 are left out. All else is computed from rounded counts, ages from those by decade; means, "
            f"medians and SMD of fewer than {FEWEST} persons are withheld."
        )
    return notes


def list_rows(table: Table1, numeric: str) -> list[list[str]]:
    """The head and the lines as rows of text, for CSV and Excel."""
    rows = [["Characteristic", "Level", *list_heads(table)]]
    for line in list_lines(table, numeric):
        cells = [line.title, line.level, line.missing, *line.cells, *([line.smd] if table.by else [])]
        rows.append([*cells[:2], *(re.sub(r"(?<=\d),(?=\d{3}\b)", "", cell) for cell in cells[2:])])
    return rows


def list_stubs(table: Table1, numeric: str, *, share: str = SHARE) -> list[Stub]:
    """The lines with one column for characteristic and level; `share` ends the title of a characteristic of levels."""
    found: list[Stub] = []
    ends = 1 if table.by else 0
    for title, group in groupby(list_lines(table, numeric), key=lambda line: line.title):
        lines = list(group)
        first, text = lines[0], title.removesuffix(SHARE) + (share if title.endswith(SHARE) else "")
        smd = (first.smd,) * ends
        if not first.level:
            found.append(Stub(text, False, (first.missing, *first.cells, *smd)))
            continue
        found.append(Stub(text, False, (first.missing, *("",) * len(first.cells), *smd)))
        found += [Stub(line.level, True, ("", *line.cells, *("",) * ends)) for line in lines]
    return found
