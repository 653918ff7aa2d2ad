"""Explains how the answer of a cohort differs between two days, two snapshots or two definitions.

For every row that was added, changed or removed: the step that included or excluded it, and why. Reasons are sought in
this order: the definition, objects of the row, the clinical file of its patient, other objects of the patient
(reasons.py), and finally other patients, among whom a cohort may rank or sample (divergence.py). Only what a cohort
reads can be a reason: its lineage shows the columns of images and records that it reads, through views and concepts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import binding, divergence
from warehouse.cohorts.reasons import (
    Facts,
    Kind,
    Reason,
    explain_by_objects,
    explain_by_record,
    fetch_facts,
    find_reads,
    format_value,
)
from warehouse.engine.rows import fetch_first

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer

__all__ = ["Difference", "Kind", "Reason", "compare_answers"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that was added, changed or removed, with the id of its grain. `step` is where it was included or excluded;
    `values` has the columns that differ, each with its old and new value."""

    id: str
    patient_id: str
    change: str
    step: str
    reasons: tuple[Reason, ...]
    values: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def compare_answers(old: CohortAnswer, new: CohortAnswer) -> list[Difference]:
    """List every difference from the old answer to the new, ordered by change and id, each with a reason."""
    if old.definition.grain != new.definition.grain:
        raise new.definition.problem(
            1,
            f"The grain of this cohort is {new.definition.grain}, that of the other {old.definition.grain}. "
            "Compare cohorts of the same grain.",
        )
    before, after = _index_by_id(old), _index_by_id(new)
    moved = {
        **dict.fromkeys(after.keys() - before.keys(), "added"),
        **dict.fromkeys(before.keys() - after.keys(), "removed"),
        **{name: "changed" for name in before.keys() & after.keys() if _compare_values(before[name], after[name])},
    }
    patients = _find_patients(moved, old, new, before, after)
    named = sorted({p for found in patients.values() for p in found})
    read = find_reads(old, new)
    sides = (fetch_facts(old, named, read), fetch_facts(new, named, read))
    by_definition = _explain_by_definition(old, new, moved, after)
    steps = {
        "added": _find_excluding_steps(old, [name for name, change in moved.items() if change == "added"]),
        "removed": _find_excluding_steps(new, [name for name, change in moved.items() if change == "removed"]),
    }
    others = _summarize_others(old, new)
    displaced = divergence.find_displaced(old, new, moved)
    found = []
    for name, change in moved.items():
        reasons = [Reason(Kind.DEFINITION, by_definition[name])] if name in by_definition else []
        for patient in sorted(patients[name]) if name not in displaced else ():
            then, now = (side.get(patient, Facts()) for side in sides)
            reasons += explain_by_objects(new.definition.grain_column, name, then, now, read)
            reasons += explain_by_record(then, now, read) if read.records else []
            if not reasons:
                reasons += explain_by_objects("", "", then, now, read)
        where = steps.get(change, {}).get(name, "")
        found.append(
            Difference(
                name,
                ", ".join(sorted(patients[name])),
                change,
                where,
                tuple(reasons) or (Reason(Kind.OTHERS, others),),
                _compare_values(before[name], after[name]) if change == "changed" else {},
            )
        )
    order = ("added", "changed", "removed")
    return sorted(found, key=lambda d: (order.index(d.change), d.id))


def _index_by_id(cohort: CohortAnswer) -> dict[str, dict[str, Any]]:
    column = cohort.definition.grain_column
    return {row[column]: row for row in cohort.rows.to_pylist()}


def _compare_values(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in new if name in old]
    return {name: (old[name], new[name]) for name in names if old[name] != new[name]}


def _find_patients(
    moved: Iterable[str], old: CohortAnswer, new: CohortAnswer, before: dict[str, Any], after: dict[str, Any]
) -> dict[str, set[str]]:
    """Find the patients of each row: by its patient_id, else by its images."""
    found: dict[str, set[str]] = defaultdict(set)
    unnamed = []
    for name in moved:
        for row in (before.get(name), after.get(name)):
            if row and row.get("patient_id"):
                found[name].add(row["patient_id"])
        if not found[name]:
            unnamed.append(name)
    column = new.definition.grain_column
    for cohort in (old, new) if unnamed else ():
        asked = f"select distinct {column}, patient_id from images where {column} in (select unnest($names))"
        for name, patient in cohort.warehouse.con.execute(asked, {"names": unnamed}).fetchall():
            found[name].add(patient)
    return found


def _explain_by_definition(
    old: CohortAnswer, new: CohortAnswer, moved: dict[str, str], after: dict[str, Any]
) -> dict[str, str]:
    """Find the rows that differ because of the definition: the old definition is run on the new data."""
    what = [
        *(["its SQL"] if old.definition.sql != new.definition.sql else []),
        *(
            f"{name} from {format_value(old.values.get(name))} to {format_value(value)}"
            for name, value in new.values.items()
            if old.values.get(name) != value
        ),
    ]
    if not what:
        return {}
    same_data = _index_by_id(old.on(new.warehouse))
    reason = f"changed definition: {', '.join(what)}"
    return {
        name: reason
        for name, change in moved.items()
        if (change == "added" and name not in same_data)
        or (change == "removed" and name in same_data)
        or (change == "changed" and name in same_data and _compare_values(same_data[name], after[name]))
    }


def _find_excluding_steps(cohort: CohortAnswer, names: list[str]) -> dict[str, str]:
    """Find the first step that excludes each of these rows, which are not in the answer."""
    if not names:
        return {}
    definition = cohort.definition
    column = definition.grain_column
    counted = divergence.list_counted_steps(cohort)
    query = "\nunion all ".join(
        f"select distinct {place} as place, {column} as name from {binding.quote_step(step)} where {column} in "
        "(select unnest($the_names))"
        for place, step in enumerate(counted)
    )
    passed: dict[str, int] = defaultdict(int)
    for row in cohort.fetch(definition.followed_by(query), the_names=names).to_pylist():
        passed[row["name"]] = max(passed[row["name"]], row["place"] + 1)
    return {name: counted[min(passed[name], len(counted) - 1)].name for name in names}


def _summarize_others(old: CohortAnswer, new: CohortAnswer) -> str:
    """Summarize all changes, for a row without changes of its own: the cohort ranks or samples among patients."""
    counted = []
    for cohort in (old, new):
        row = fetch_first(
            cohort.warehouse.con.execute(
                "select (select count(*) from images), (select count(*) from clinical_history)"
            )
        )
        assert row is not None
        counted.append(row)
    (images, files), (images_now, files_now) = counted
    return (
        "other patients: nothing changed for this patient, but its rank among others did: "
        f"images went from {images:,} to {images_now:,}, clinical files from {files:,} to {files_now:,}"
    )
