"""Measures the association of a label with the origin of its images: shortcuts that a model may learn.

Computes Cramér's V between the label and centre, manufacturer, model, projection, month, sex and age, and between
these; counts per cell; a warning for each strong association, and for each centre, scanner … whose rows all have one
label.

If counts are rounded, they are of patients, each counted once, by its first row: the SQL may fix how many rows a
patient has. Everything else is computed from the rounded tables and discloses no more than they do.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from warehouse.cohorts.levels import UNKNOWN, require_levels, round_levels_by
from warehouse.disclosure_control import Table, round_count
from warehouse.engine import sql_files
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError
from warehouse.settings import require_base

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer

#: Associations from this value on are warned about: "moderate" in the usual terms for Cramér's V.
NOTEWORTHY = 0.3
#: A centre, scanner … with at least this many rows or patients, all with one label, is warned about.
ONE_SIDED = 10
_MOST_VALUES = 24

#: Attributes that a label may be associated with, from the first image of a row and the record of its patient.
_ATTRIBUTES = """
    with first_images as (
        select
            {{ grain }} as id,
            arg_min(patient_id, key) as patient_id,
            arg_min(vendor, key) as vendor,
            arg_min(Manufacturer, key) as manufacturer,
            arg_min(ManufacturerModelName, key) as model,
            arg_min(ViewPosition, key) as projection,
            min(StudyDate) as study_date
        from images
        where {{ grain }} in (select id from cohort_answer)
        group by {{ grain }}
    ),
    asked as (
        select
            answer.label,
            first_images.* replace (
                answer.id as id, coalesce(answer.patient_id, first_images.patient_id) as patient_id
            )
        from cohort_answer as answer
        left join first_images on answer.id = first_images.id
    )
    select
        asked.patient_id as person,
        patients.covid_status as status,
        asked.label,
        -- One centre, one vendor, whatever its spelling; shown under the most frequent one.
        mode(submitting_centre) over (partition by centre) as centre,
        mode(asked.manufacturer) over (partition by asked.vendor) as manufacturer,
        asked.model,
        asked.projection,
        strftime(asked.study_date, '%Y-%m') as month,
        patients.sex,
        printf('%d to %d', cast(floor(age / 10) * 10 as integer), cast(floor(age / 10) * 10 + 9 as integer)) as age
    from asked
    left join patients on asked.patient_id = patients.patient_id
    order by asked.study_date nulls last, asked.id
"""


@dataclass(frozen=True, slots=True)
class Association:
    """The association of two attributes: Cramér's V, plain and corrected for small tables (Bergsma 2013)."""

    first: str
    second: str
    v: float
    corrected: float


@dataclass(frozen=True, slots=True)
class Confounders:
    """The associations of a label, strongest first, those between the attributes, the cells of each, and warnings.

    `counted` is what the numbers are of, `rows` or, if rounded, `patients`, and `total` how many there are. `between`
    is empty if counts are rounded, because there is no rounded table of two attributes to compute it from.
    """

    label: str
    counted: str
    total: int
    with_label: tuple[Association, ...]
    between: tuple[Association, ...]
    cells: dict[str, Table]
    warnings: tuple[str, ...]


def tabulate_confounders(cohort: CohortAnswer, label: str, suppress: int = 0) -> Confounders:
    """Measure the associations of a label over the rows; with `suppress` over patients, rounded to its multiples.

    UsageError if the answer lacks the label, if it has too many values to tabulate, or if the base does not protect.
    """
    require_base(suppress)
    columns = cohort.rows.column_names
    if label not in columns:
        raise UsageError(
            f"The answer of {cohort.definition.name} has no column {label}.{suggest_nearest(label, columns)}"
        )
    require_levels(label, suppress)
    cohort.warehouse.require("patients", "centre")
    con = cohort.warehouse.con
    con.register("cohort_answer", _fetch_answer(cohort, label))
    try:
        answer = con.execute(sql_files.fill(_ATTRIBUTES, grain=cohort.definition.grain_column))
        names = [column[0] for column in answer.description or []]
        rows = answer.fetchall()
    finally:
        con.unregister("cohort_answer")
    if suppress:
        rows = _keep_first_of_each(rows)
    values = {name: [UNKNOWN if row[place] is None else row[place] for row in rows] for place, name in enumerate(names)}
    if len(set(values["label"])) > _MOST_VALUES:
        raise UsageError(
            f"{label} has more than {_MOST_VALUES} values, too many for a table of confounders. "
            "Choose a label with few values, or group its values in the cohort."
        )
    attributes = names[3:]
    tables = {name: _tabulate(values, name, suppress) for name in attributes}
    with_label = [Association(label, name, *cramers_v(Counter(table.cells))) for name, table in tables.items()]
    pairs = () if suppress else combinations(attributes, 2)
    counted = "patients" if suppress else "rows"
    return Confounders(
        label,
        counted,
        round_count(len(rows), suppress),
        tuple(sorted(with_label, key=lambda a: -a.corrected)),
        tuple(Association(a, b, *cramers_v(Counter(zip(values[a], values[b], strict=True)))) for a, b in pairs),
        tables,
        tuple(_find_warnings(label, with_label, tables, counted)),
    )


def _keep_first_of_each(rows: list[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
    """The first row of each patient, who comes first in it."""
    return [*{row[0]: row for row in reversed(rows) if row[0] is not None}.values()]


def _fetch_answer(cohort: CohortAnswer, label: str) -> pa.Table:
    """The answer with its columns renamed to id, label and patient_id."""
    import pyarrow as pa

    rows = cohort.rows
    patients = rows["patient_id"] if "patient_id" in rows.column_names else pa.nulls(rows.num_rows, pa.string())
    labels = [None if value is None else _to_text(value) for value in rows[label].to_pylist()]
    return pa.table(
        {"id": rows[cohort.definition.grain_column], "label": pa.array(labels, pa.string()), "patient_id": patients}
    )


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def cramers_v(pairs: Counter[tuple[str, str]]) -> tuple[float, float]:
    """Cramér's V of counted pairs, and V corrected for bias; 0 if either attribute has a single value."""
    n = sum(pairs.values())
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for (a, b), count in pairs.items():
        first[a] += count
        second[b] += count
    r, k = len(first), len(second)
    if n < 2 or r < 2 or k < 2:
        return 0.0, 0.0
    phi2 = sum(count * count / (first[a] * second[b]) for (a, b), count in pairs.items()) - 1
    v = math.sqrt(max(0.0, phi2) / (min(r, k) - 1))
    phi2 = max(0.0, phi2 - (r - 1) * (k - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return min(v, 1.0), min(1.0, math.sqrt(phi2 / smaller)) if smaller > 0 else 0.0


def _tabulate(values: dict[str, list[str]], name: str, base: int) -> Table:
    return round_levels_by(Counter(zip(values[name], values["label"], values["status"], strict=True)), base)


def _find_warnings(label: str, with_label: list[Association], cells: dict[str, Table], counted: str) -> list[str]:
    warnings = [
        f"{label} is associated with {a.second} (V {a.corrected:.2f}): a model can predict it from the {a.second}."
        for a in sorted(with_label, key=lambda a: -a.corrected)
        if a.corrected >= NOTEWORTHY
    ]
    for name, table in cells.items():
        if len(table.columns) < 2:
            continue
        for row in table.rows:
            total = table.row_totals[row]
            only = [c for c in table.columns if table.cells[row, c] == total]
            if total and total >= ONE_SIDED and only:
                warnings.append(f"{name} {row}: all {total:,} {counted} have {label} {only[0]}.")

    return warnings
