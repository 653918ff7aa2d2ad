"""The patients whom an answer counts: those of the answer, whatever its grain, and those of each of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from warehouse.cohorts import attrition

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer


def list_patients(cohort: CohortAnswer, *, with_steps: bool = False) -> Mapping[str, list[str]]:
    """List the patients of the answer, under "", and with `with_steps` those of each step, as `COHORT: STEP`.

    Empty where nothing in them identifies a patient, study, series or image.
    """
    steps = attrition.list_counted(cohort)
    answer = cohort.definition.answer
    if not with_steps:
        steps = [step for step in steps if step is answer]
    if not steps:
        return {}
    found = cohort.fetch(attrition.build_query(cohort, steps, "reports/attrition_members.sql")).to_pylist()
    name = cohort.definition.name
    return {
        "" if step is answer else f"{name}: {step.name}": [
            row["patient_id"] for row in found if row["region"][place] == "1"
        ]
        for place, step in enumerate(steps)
    }
