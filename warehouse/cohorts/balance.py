"""Describes the sides of a split: how many patients each has, and how alike they are. It never moves a patient.

The difference of a side from the first one is the standardised mean difference: of numbers, the difference of the means
in standard deviations, averaged over both (Cohen's d); of categories its generalisation by Yang and Dalton (2012, SAS
Global Forum, paper 335): the Mahalanobis distance of the proportions under a multinomial distribution. Values below
0.1 are usually called balanced (Austin 2009, Stat Med 28:3083). Not known is a category of its own.

Counts are of patients. If they are rounded, shares and the differences of categories are computed from the rounded
tables (disclosure_control.py), and means are shown only of sides with as many patients.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.cohorts import division
from warehouse.cohorts.header import suggest_nearest
from warehouse.cohorts.split import order_sides
from warehouse.cohorts.table1_statistics import compare_shares
from warehouse.disclosure_control import Table, round_count, round_parts, round_table
from warehouse.engine.names import fold_name
from warehouse.engine.sql_files import identifier
from warehouse.errors import UsageError
from warehouse.settings import require_base

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer

_UNKNOWN, _KNOWN = "not known", "known"
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
    not known of a number, with `means` (mean and standard deviation); `differences` are those from the first side,
    infinite if nothing is in common."""

    name: str
    table: Table
    means: dict[str, tuple[float, float]]
    differences: dict[str, float]


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
    persons = {patient: side for patient, side in divided.persons.items() if side}
    sides = order_sides({*divided.rule.sides, *persons.values()})
    counts = Counter(persons.values())
    return Sides(
        dict(zip(sides, round_parts([counts[side] for side in sides], suppress), strict=True)),
        {reason: round_count(len(whom), suppress) for reason, (whom, _) in divided.left_out.items()},
        round_count(len(divided.moved), suppress),
        tuple(
            _compare_sides(name, values, persons, sides, suppress) for name, values in _find(cohort, divided, balance)
        ),
    )


def _find(
    cohort: CohortAnswer, divided: division.Division, names: Sequence[str]
) -> list[tuple[str, dict[str, object]]]:
    """The values of each column by patient: of the answer, else of the view `patients`."""
    of_answer = {fold_name(name): name for name in cohort.unsplit_rows.column_names}
    of_view = {c.name: c.name for c in columns.load_relations()["patients"].columns if c.name not in _NO_TABLE}
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


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare_sides(
    name: str, values: Mapping[str, object], persons: Mapping[str, str], sides: list[str], suppress: int
) -> Balance:
    known = {patient: values[patient] for patient in persons if values.get(patient) is not None}
    is_number = bool(known) and all(map(_is_number, known.values()))
    texts = {patient: _KNOWN if is_number else _to_text(value) for patient, value in known.items()}
    levels = sorted({*texts.values()})
    if len(levels) > _MOST_VALUES:
        raise UsageError(
            f"{name} has more than {_MOST_VALUES} values, too many to compare sides by. Choose a column with fewer."
        )
    levels += [_UNKNOWN] if len(texts) < len(persons) else []
    cells = Counter((texts.get(patient, _UNKNOWN), side) for patient, side in persons.items())
    table = round_table(levels, sides, cells, suppress)
    if not is_number:
        return Balance(name, table, {}, _compare_categories(table))
    numbers: dict[str, list[float]] = defaultdict(list)
    for patient, value in known.items():
        numbers[persons[patient]].append(float(value))  # type: ignore[arg-type]
    means = {
        side: (statistics.fmean(numbers[side]), statistics.stdev(numbers[side]))
        for side in table.columns
        if len(numbers[side]) >= max(2, suppress) and table.cells.get((_KNOWN, side))
    }
    first = next(iter(table.columns), "")
    differences = {
        side: measure_numbers(means[first], means[side]) for side in means if side != first and first in means
    }
    return Balance(name, table, means, differences)


def _compare_categories(table: Table) -> dict[str, float]:
    counts = {
        side: [table.cells[level, side] for level in table.rows] for side in table.columns if table.column_totals[side]
    }
    first = next(iter(counts), "")
    return {side: measure_categories(counts[first], those) for side, those in counts.items() if side != first}


def measure_numbers(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The standardised difference of two means, each given with its standard deviation."""
    apart = abs(one[0] - other[0])
    deviation = math.sqrt((one[1] ** 2 + other[1] ** 2) / 2)
    return apart / deviation if deviation else math.inf if apart else 0.0


def measure_categories(one: Sequence[float], other: Sequence[float]) -> float:
    """The standardised difference of two distributions, as counts or shares; infinite if a category that only one has
    determines the side."""
    found = compare_shares(one, other)
    return math.inf if found is None else found
