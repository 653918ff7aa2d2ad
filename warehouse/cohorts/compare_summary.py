"""Counts what was added, changed and removed between two answers, and the kinds of reasons: rows, or patients where
counts are rounded, because the SQL may fix how many rows a patient has.

A patient with rows in both answers has changed if any row was added, changed or removed. All numbers are sums of parts
that are rounded together, as in attrition. The digit of the second answer comes first, so that its number of patients
is rounded in the same way on every page.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.disclosure_control import round_regions
from warehouse.engine import sql_files
from warehouse.settings import require_base

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer
    from warehouse.cohorts.compare import Difference
    from warehouse.cohorts.reasons import Kind

#: In the second answer, in the first, the same in both.
_DIGITS = {"added": "100", "changed": "110", "removed": "010", "same": "111"}


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of what is counted, `rows` or `patients`; `kinds` are the kinds of reasons, the most frequent first."""

    counted: str
    before: int
    after: int
    added: int
    changed: int
    removed: int
    kinds: dict[Kind, int]


def summarize_differences(
    old: CohortAnswer, new: CohortAnswer, found: Sequence[Difference], suppress: int = 0
) -> Summary:
    """Count the rows; or, rounded to multiples of `suppress`, the patients. UsageError for a base that does not
    protect."""
    require_base(suppress)
    kinds = sorted({reason.kind for difference in found for reason in difference.reasons})
    changes, of_kinds = (_group_patients if suppress else _group_rows)(old, new, found)
    regions = Counter(
        _DIGITS[change] + "".join("01"[kind in of_kinds[name]] for kind in kinds) for name, change in changes.items()
    )
    shown = round_regions(regions, suppress)

    def add_up(place: int) -> int:
        return sum(n for region, n in shown.items() if region[place] == "1")

    numbers = {
        change: sum(n for region, n in shown.items() if region.startswith(digits)) for change, digits in _DIGITS.items()
    }
    counts = {kind: add_up(place) for place, kind in enumerate(kinds, start=len(_DIGITS["same"]))}
    return Summary(
        "patients" if suppress else "rows",
        add_up(1),
        add_up(0),
        numbers["added"],
        numbers["changed"],
        numbers["removed"],
        dict(sorted(counts.items(), key=lambda item: -item[1])),
    )


_Groups = tuple[dict[str, str], dict[str, set["Kind"]]]


def _group_rows(old: CohortAnswer, new: CohortAnswer, found: Sequence[Difference]) -> _Groups:
    """The change of every row, and the kinds of its reasons."""
    column = new.definition.grain_column
    names = {*old.rows[column].to_pylist(), *new.rows[column].to_pylist()}
    kinds: dict[str, set[Kind]] = defaultdict(set, {d.id: {reason.kind for reason in d.reasons} for d in found})
    return {**dict.fromkeys(names, "same"), **{d.id: d.change for d in found}}, kinds


def _group_patients(old: CohortAnswer, new: CohortAnswer, found: Sequence[Difference]) -> _Groups:
    """The same of every patient."""
    before, after = _find_patients(old), _find_patients(new)
    kinds: dict[str, set[Kind]] = defaultdict(set)
    moved = set()
    for difference in found:
        patients = before.get(difference.id, set()) | after.get(difference.id, set())
        moved |= patients
        for patient in patients:
            kinds[patient] |= {reason.kind for reason in difference.reasons}
    then, now = (set().union(*side.values()) for side in (before, after))
    changes = {**dict.fromkeys(then | now, "same"), **dict.fromkeys(moved, "changed")}
    return {**changes, **dict.fromkeys(now - then, "added"), **dict.fromkeys(then - now, "removed")}, kinds


def _find_patients(cohort: CohortAnswer) -> dict[str, set[str]]:
    """Find the patients of each row: by its patient_id, else by its images."""
    column, rows = cohort.definition.grain_column, cohort.rows
    names = rows[column].to_pylist()
    found: dict[str, set[str]] = {}
    if "patient_id" in rows.column_names:
        named = zip(names, rows["patient_id"].to_pylist(), strict=True)
        found = {name: {patient} for name, patient in named if patient is not None}
    if unnamed := [name for name in names if name not in found]:
        quoted = sql_files.identifier(column)
        asked = f"select distinct {quoted}, patient_id from images where {quoted} in (select unnest($names))"
        for name, patient in cohort.warehouse.con.execute(asked, {"names": unnamed}).fetchall():
            found.setdefault(name, set()).add(patient)
    return found
