"""Describes the sides of a split: how many patients each has, and how alike they are. It never moves a patient.

The difference of a side from the first one is the standardised mean difference: of numbers, the difference of the means
in standard deviations, averaged over both (Cohen's d); of categories its generalisation by Yang and Dalton (2012, SAS
Global Forum, paper 335): the Mahalanobis distance of the proportions under a multinomial distribution. Values below
0.1 are usually called balanced (Austin 2009, Stat Med 28:3083). Not known is a category of its own.

Counts are of patients. If they are rounded, everything else is computed from rounded tables (disclosure_control.py),
means from counts by band; means of fewer than ten patients are withheld.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.cohorts import division, group_statistics
from warehouse.cohorts.group_statistics import FEWEST, Summary
from warehouse.cohorts.levels import UNKNOWN, require_levels, round_levels, round_levels_by
from warehouse.cohorts.split import order_sides
from warehouse.cohorts.table1 import AGE
from warehouse.disclosure_control import Table, make_table, round_count
from warehouse.engine.names import fold_name, suggest_nearest
from warehouse.engine.sql_files import identifier
from warehouse.errors import UsageError
from warehouse.settings import require_base

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer

_KNOWN = "known"
#: The most values of a column that is compared as categories.
_MOST_VALUES = 50
_NO_TABLE = ("group_name", "patient_id", "clinical_key")


@dataclass(frozen=True, slots=True)
class Sides:
    """The patients on each side, train first; for each reason, those with rows that are on no side; and those whom a
    record of a held-out centre moved. Rounded if asked."""

    patients: dict[str, int]
    left_out: dict[str, int]
    moved: int
    balance: tuple[Balance, ...] = ()


@dataclass(frozen=True, slots=True)
class Balance:
    """How a column is distributed over the sides. `table` has the patients of each value and side, or those known and
    not known of a number, with `means`; `differences` are those from the first side, None if not defined."""

    name: str
    table: Table
    means: dict[str, Summary]
    differences: dict[str, float | None]


def describe_sides(cohort: CohortAnswer, balance: Sequence[str] = (), suppress: int = 0) -> Sides:
    """Count the patients on each side of a split answer, and compare the sides by columns of it or of `patients`.

    Counts are rounded to multiples of `suppress`; 0 gives exact counts. UsageError for an answer that is not split, and
    for a column that neither has or whose values are too many.
    """
    require_base(suppress)
    divided = cohort.division
    if divided is None:
        raise UsageError(
            f"{cohort.definition.name} is not split. Split it first, as in cohort.split(train=80, test=20)."
        )
    for name in balance:
        require_levels(name, suppress)
    # Those on no side are rounded with the others, as in table 1 by the sides.
    persons = {patient: side or UNKNOWN for patient, side in divided.persons.items()}
    counts = round_levels(Counter(persons.values()), suppress)
    sides = order_sides({*divided.rule.sides, *counts} - {UNKNOWN})
    con = cohort.warehouse.con
    statuses = dict(division.fetch_of_patients(con, {*persons}, "attributes", attributes=", covid_status"))
    return Sides(
        {side: counts.get(side, 0) for side in sides},
        {reason: round_count(len(whom), suppress) for reason, (whom, _) in divided.left_out.items()},
        round_count(len(divided.moved), suppress),
        tuple(
            _compare_sides(name, values, persons, statuses, suppress)
            for name, values in _find(cohort, divided, balance)
        ),
    )


def list_attributes() -> dict[str, str]:
    """The columns of the view `patients` by which sides can be compared, each with its type."""
    return {c.name: c.type for c in columns.load_relations()["patients"].columns if c.name not in _NO_TABLE}


def _find(
    cohort: CohortAnswer, divided: division.Division, names: Sequence[str]
) -> list[tuple[str, dict[str, object]]]:
    """The values of each column by patient: of the answer, else of the view `patients`."""
    of_answer = {fold_name(name): name for name in cohort.unsplit_rows.column_names}
    of_view = list_attributes()
    wanted = {name: of_answer.get(fold_name(name)) for name in dict.fromkeys(names)}
    asked = [name for name, own in wanted.items() if not own]
    for name in asked:
        if fold_name(name) not in of_view:
            known = [*of_answer.values(), *of_view]
            raise UsageError(
                f"Neither {cohort.definition.name} nor the view patients has a column {name}."
                f"{suggest_nearest(name, known)}"
            )
    found: dict[str, dict[str, object]] = {}
    for name, own in wanted.items():
        if own:
            found[name] = _merge_rows(divided.patients, cohort.unsplit_rows[own].to_pylist())
    if asked:
        attributes = "".join(f", {identifier(fold_name(name))}" for name in asked)
        rows = division.fetch_of_patients(cohort.warehouse.con, {*divided.persons}, "attributes", attributes=attributes)
        for place, name in enumerate(asked, 1):
            found[name] = {row[0]: row[place] for row in rows}
    return [(name, found[name]) for name in wanted]


def _merge_rows(patients: Sequence[Sequence[str]], values: Sequence[object]) -> dict[str, object]:
    """One value for each patient: the mean of numbers, else the most frequent value; the first of equally frequent."""
    known: dict[str, list[Any]] = defaultdict(list)
    for some, value in zip(patients, values, strict=True):
        for patient in some:
            if value is not None:
                known[patient].append(value)
    return {
        patient: statistics.fmean(map(float, found))
        if all(map(_is_number, found))
        else Counter(map(_to_text, found)).most_common(1)[0][0]
        for patient, found in known.items()
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_known(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare_sides(
    name: str, values: Mapping[str, object], persons: Mapping[str, str], statuses: Mapping[str, str], suppress: int
) -> Balance:
    known = {patient: values[patient] for patient in persons if _is_known(values.get(patient))}
    is_number = bool(known) and all(map(_is_number, known.values()))
    texts = {patient: _KNOWN if is_number else _to_text(value) for patient, value in known.items()}
    if len({*texts.values()}) > _MOST_VALUES:
        raise UsageError(
            f"{name} has more than {_MOST_VALUES} values, too many to compare sides by. Choose a column with fewer."
        )
    table = _leave_out(_round(texts, persons, statuses, suppress), UNKNOWN)
    means: dict[str, Summary] = {}
    if is_number:
        numbers = {patient: float(value) for patient, value in known.items()}  # type: ignore[arg-type]
        means = (
            _summarize_rounded(name, numbers, persons, statuses, suppress) if suppress else _summarize(numbers, persons)
        )
        means = {side: means[side] for side in table.columns if side in means}
    first = next(iter(table.columns), "")
    differences = {}
    for side in table.columns[1:]:
        if is_number:
            apart = group_statistics.compare_means(means.get(first), means.get(side))
        else:
            one, other = ([table.cells[row, s] for row in table.rows] for s in (first, side))
            apart = group_statistics.compare_shares(one, other)
        differences[side] = None if apart is None else abs(apart)
    return Balance(name, table, means, differences)


def _round(levels: Mapping[str, str], persons: Mapping[str, str], statuses: Mapping[str, str], suppress: int) -> Table:
    placed = (
        (levels.get(patient, UNKNOWN), side, statuses.get(patient) or UNKNOWN) for patient, side in persons.items()
    )
    return round_levels_by(Counter(placed), suppress)


def _leave_out(table: Table, column: str) -> Table:
    columns = order_sides({*table.columns} - {column})
    rows = [row for row in table.rows if any(table.cells[row, side] for side in columns)]
    return make_table(rows, columns, [[table.cells[row, side] for side in columns] for row in rows], 0)


def _summarize(numbers: Mapping[str, float], persons: Mapping[str, str]) -> dict[str, Summary]:
    """Mean and standard deviation of each side."""
    by_side: dict[str, list[float]] = defaultdict(list)
    for patient, number in numbers.items():
        by_side[persons[patient]].append(number)
    return {
        side: Summary(
            len(found), statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None, None, None, None
        )
        for side, found in by_side.items()
    }


def _summarize_rounded(
    name: str, numbers: Mapping[str, float], persons: Mapping[str, str], statuses: Mapping[str, str], suppress: int
) -> dict[str, Summary]:
    """The same from counts by band, of sides with enough patients.

    They are rounded with those not known, who are then as many as beside the means; ages by decade, as in table 1: two
    roundings of a number could be intersected.
    """
    width = group_statistics.BAND if fold_name(name) == AGE else _find_width(numbers.values())
    bands = {patient: math.floor(number / width) * width for patient, number in numbers.items()}
    named = {str(band): band for band in bands.values()}
    table = _round({patient: str(band) for patient, band in bands.items()}, persons, statuses, suppress)
    found = {}
    for side in table.columns:
        known = {named[level]: table.cells[level, side] for level in table.rows if level != UNKNOWN}
        if sum(known.values()) >= FEWEST:
            found[side] = group_statistics.summarize_bands(known, width)
    return found


def _find_width(numbers: Collection[float]) -> int:
    """The width of at most about ten bands: 1, 2 or 5 with zeros."""
    span = max(numbers) - min(numbers)
    width = 1
    while width * 10 < span:
        width = width * 5 // 2 if str(width).startswith("2") else width * 2
    return width
