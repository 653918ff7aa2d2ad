"""Explains how the answer of a cohort differs between two days, two snapshots or two definitions.

For every row that came, left or changed: the step that took or dropped it, and why. Reasons are looked for from near
to far: the definition, objects of the row, the clinical file of its patient, other objects of the patient (reasons.py),
and at last other patients, against whom a cohort may rank or draw (divergence.py). What a cohort does not read is no
reason: its lineage shows which columns of images and records it does, through views and concepts.
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

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer

__all__ = ["Difference", "Kind", "Reason", "compare_answers"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that came, left or changed, by the name of its grain. `step` is where it was taken or dropped; `values` has
    the columns that differ, each with its old and new value."""

    id: str
    patient_id: str
    change: str
    step: str
    reasons: tuple[Reason, ...]
    values: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def compare_answers(old: CohortAnswer, new: CohortAnswer) -> list[Difference]:
    """Every difference from the old answer to the new, ordered by change and name, none without a reason."""
    if old.definition.grain != new.definition.grain:
        raise new.definition.problem(
            1,
            f"Its rows are of the grain {new.definition.grain}, the other's {old.definition.grain}: "
            "they cannot be compared.",
        )
    before, after = _index_by_id(old), _index_by_id(new)
    moved = {
        **dict.fromkeys(after.keys() - before.keys(), "came"),
        **dict.fromkeys(before.keys() - after.keys(), "left"),
        **{name: "changed" for name in before.keys() & after.keys() if _compare_values(before[name], after[name])},
    }
    patients = _find_patients(moved, old, new, before, after)
    named = sorted({p for found in patients.values() for p in found})
    read = find_reads(old, new)
    sides = (fetch_facts(old, named, read), fetch_facts(new, named, read))
    by_definition = _explain_by_definition(old, new, moved, after)
    steps = {
        "came": _find_excluding_steps(old, [name for name, change in moved.items() if change == "came"]),
        "left": _find_excluding_steps(new, [name for name, change in moved.items() if change == "left"]),
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
    order = ("came", "left", "changed")
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
    """The patients that each row is of: by its own column, else by the images."""
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
    """The rows whose difference is there on the same data too: what the old definition answers on the new data says."""
    from dataclasses import replace

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
    same_data = _index_by_id(replace(old, warehouse=new.warehouse))
    told = f"changed definition: {', '.join(what)}"
    return {
        name: told
        for name, change in moved.items()
        if (change == "came" and name not in same_data)
        or (change == "left" and name in same_data)
        or (change == "changed" and name in same_data and _compare_values(same_data[name], after[name]))
    }


def _find_excluding_steps(cohort: CohortAnswer, names: list[str]) -> dict[str, str]:
    """For rows that are not in the answer, the first step, down from where the answer begins, that is without them."""
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
    """How much changed in all, for a row of which nothing did: the cohort ranks or draws among patients."""
    counted = []
    for cohort in (old, new):
        row = cohort.warehouse.con.execute(
            "select (select count(*) from images), (select count(*) from clinical_history)"
        ).fetchone()
        assert row is not None
        counted.append(row)
    (images, files), (images_now, files_now) = counted
    return (
        "nothing of this patient made the difference, but its place among others: "
        f"images went from {images:,} to {images_now:,}, clinical files from {files:,} to {files_now:,}"
    )
