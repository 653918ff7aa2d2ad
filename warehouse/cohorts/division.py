"""Divides the rows of a cohort's answer into the sides of a split; what is on no side is counted, with the reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import held_out
from warehouse.cohorts.split import COLUMN, SHARED, Split
from warehouse.engine import sql_files
from warehouse.engine.names import fold_name
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer
    from warehouse.cohorts.definition import Definition


@dataclass(frozen=True)
class Division:
    """A split answer. `sides` and `reasons` are those of its rows, `patients` those of each row's patients; `moved` are
    the patients whom a record of a held-out centre moved: earlier splits have them on another side."""

    rule: Split
    sides: list[str | None]
    reasons: list[str]
    patients: list[list[str]]
    moved: frozenset[str]

    @cached_property
    def persons(self) -> dict[str, str | None]:
        """Each patient of the answer, sorted, and the side; None if all rows of the patient are on no side."""
        found: dict[str, str | None] = {}
        for side, patients in zip(self.sides, self.patients, strict=True):
            for patient in patients:
                found[patient] = found.get(patient) or side
        return dict(sorted(found.items()))

    @cached_property
    def left_out(self) -> dict[str, tuple[set[str], int]]:
        """The reasons for which rows are on no side, each with the patients of those rows and the number of rows."""
        found: dict[str, tuple[set[str], int]] = {}
        for reason, patients in zip(self.reasons, self.patients, strict=True):
            if reason:
                whom, rows = found.get(reason, (set(), 0))
                found[reason] = (whom | set(patients), rows + 1)
        return dict(sorted(found.items()))


def check_rule(definition: Definition, columns: dict[str, str], rule: Split) -> None:
    """UsageError if the answer of a cohort, with these columns, cannot be split by a rule."""
    if taken := [name for name in columns if fold_name(name) == COLUMN]:
        raise UsageError(
            f"The answer of {definition.name} already has a column {taken[0]}, which the split would be. "
            "Give it another name in the final SELECT, or leave out the split."
        )
    if rule.hold_out_after and definition.grain == "patient":
        raise UsageError(
            f"A row of {definition.name} is a patient, with images from before and after {rule.hold_out_after}. "
            "Hold out a time of a cohort of studies, series or images."
        )


def divide(cohort: CohortAnswer, rule: Split, rows: pa.Table) -> Division:
    """Divide the rows of an answer; UsageError for a held-out centre that no record has."""
    with register_rows(cohort, rows) as con:
        members = _fetch(con, "members", grain=sql_files.identifier(cohort.definition.grain_column))
        patients: list[list[str]] = [[] for _ in range(rows.num_rows)]
        last: list[date | None] = [None] * rows.num_rows
        for place, patient, day in members:
            if patient is not None:
                patients[place].append(patient)
            last[place] = max(filter(None, (last[place], day)), default=None)
        everybody = {patient for some in patients for patient in some}
        placed, moved = _place_patients(con, rule, everybody)
    sides, reasons = _place_rows(rule, patients, last, placed)
    return Division(rule, sides, reasons, patients, moved)


@contextmanager
def register_rows(cohort: CohortAnswer, rows: pa.Table, split: Any = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Offer the rows of an answer to the statements of sql/reports/split.sql, with their column `split` if given."""
    import pyarrow as pa

    definition, con = cohort.definition, cohort.warehouse.con
    named = next((name for name in rows.column_names if fold_name(name) == "patient_id"), None)
    made = {
        "place": pa.array(range(rows.num_rows), pa.int64()),
        "id": rows[definition.grain_column],
        "patient_id": rows[named] if named else pa.nulls(rows.num_rows, pa.string()),
    }
    con.register("split_answer", pa.table(made if split is None else {**made, "split": split}))
    try:
        yield con
    finally:
        con.unregister("split_answer")


def fetch_of_patients(con: duckdb.DuckDBPyConnection, patients: set[str], name: str, **holes: str) -> list[Any]:
    """Run a statement of sql/reports/split.sql about these patients."""
    import pyarrow as pa

    con.register("split_patients", pa.table({"patient_id": pa.array(sorted(patients), pa.string())}))
    try:
        return _fetch(con, name, **holes)
    finally:
        con.unregister("split_patients")


def _fetch(con: duckdb.DuckDBPyConnection, name: str, **holes: str) -> list[Any]:
    return con.execute(sql_files.fill(sql_files.read_statements("reports/split.sql")[name], **holes)).fetchall()


def _place_patients(
    con: duckdb.DuckDBPyConnection, rule: Split, patients: set[str]
) -> tuple[dict[str, tuple[str | None, str]], frozenset[str]]:
    """Place each patient, and find those whom a record of a held-out centre moved."""
    held = held_out.spell_centres(con, rule.hold_out_centres)
    centres: dict[str, dict[str, date]] = defaultdict(dict)
    first: dict[str, date] = {}
    if held or rule.by == "centre":
        for patient, centre, day in fetch_of_patients(con, patients, "records"):
            centres[patient][centre] = day
    if held or rule.hold_out_after:
        first = dict(fetch_of_patients(con, patients, "arrivals"))
    placed = {
        patient: rule.place_patient(patient, centres.get(patient, ()), held, first.get(patient)) for patient in patients
    }
    held_since = {
        patient: min((day for centre, day in known.items() if centre in held), default=None)
        for patient, known in centres.items()
    }
    return placed, frozenset(patient for patient, day in held_since.items() if day and first[patient] < day)


def _place_rows(
    rule: Split, patients: list[list[str]], last: list[date | None], placed: dict[str, tuple[str | None, str]]
) -> tuple[list[str | None], list[str]]:
    """The side of each row, and "" or why it is on none."""
    sides, reasons = list[str | None](), list[str]()
    for some, day in zip(patients, last, strict=True):
        found = {placed[patient] for patient in some}
        side, reason = next(iter(found)) if len(found) == 1 else (None, "")
        if not found:
            reason = "of no known patient"
        elif len(found) > 1:
            reason = "of patients on different sides"
        elif side in SHARED and rule.hold_out_after and day and day > rule.hold_out_after:
            side, reason = None, f"available only after {rule.hold_out_after}, of a patient with earlier data"
        sides.append(side)
        reasons.append(reason)
    return sides, reasons
