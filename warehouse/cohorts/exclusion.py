"""Finds the step that excluded each patient from a cohort, for all patients in one query.

Steps are followed as in attrition: from the answer back through the step that each FROM begins with. A patient is
excluded by the step after the last one that has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from warehouse.cohorts import binding
from warehouse.cohorts.definition import Definition, Step

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer

#: Identifiers, the finest first.
_IDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def list_steps(cohort: CohortAnswer) -> list[Step]:
    """List the steps on the way to the answer that identify patients, in order; the answer comes last."""
    definition = cohort.definition
    known = {step.name: step for step in definition.steps}
    chain = [definition.answer]
    while chain[0].after:
        chain.insert(0, known[chain[0].after])
    return [step for step in chain if {"patient_id", *_IDS} & cohort.step_columns[step.name].keys()]


def list_excluded(cohort: CohortAnswer) -> pa.Table:
    """List the patients of the views who are not in the answer: patient_id, step, after and meaning, by patient."""
    import pyarrow as pa

    steps = list_steps(cohort)
    last = len(steps)
    found = cohort.fetch(_build_query(cohort.definition, steps, cohort.step_columns, ""))
    rows = [(row["patient_id"], row["passed"]) for row in found.to_pylist() if row["passed"] < last]
    out = {
        "patient_id": [patient for patient, _ in rows],
        "step": [steps[passed].name for _, passed in rows],
        "after": [steps[passed].after or None for _, passed in rows],
        "meaning": [steps[passed].meaning for _, passed in rows],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in out.items()})


def find_excluding_step(cohort: CohortAnswer, patient_id: str) -> Step | None:
    """Find the step that excluded a patient of the views; None if the patient is in the answer."""
    steps = list_steps(cohort)
    query = _build_query(cohort.definition, steps, cohort.step_columns, "where patients.patient_id = $the_patient")
    rows = cohort.fetch(query, the_patient=patient_id).to_pylist()
    passed = rows[0]["passed"] if rows else 0
    return steps[passed] if passed < len(steps) else None


def _build_query(
    definition: Definition, steps: list[Step], columns: Mapping[str, Mapping[str, str]], where: str
) -> str:
    """Build the query for the number of steps that each patient has passed."""
    members = []
    for place, step in enumerate(steps, 1):
        name = binding.quote_step(step)
        if "patient_id" in columns[step.name]:
            members.append(f"select patient_id, {place} as place from {name}")
        else:
            finest = next(column for column in _IDS if column in columns[step.name])
            members.append(
                f"select i.patient_id, {place} as place from images as i "
                f"where i.{finest} in (select {finest} from {name})"
            )
    passed = "\nunion all ".join(members)
    return definition.followed_by(
        f"select patients.patient_id, coalesce(max(passed.place), 0) as passed from patients left join ({passed}) as "
        f"passed on patients.patient_id = passed.patient_id {where} group by all order by all"
    )
