"""Digests of the patients whom an answer counts, by which `differencing` compares it with earlier ones.

They name nobody. An answer shows several counts: each is a set under its own name. The set named "" is the patients of
the answer itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from warehouse.cohorts import attrition
from warehouse.engine import sql_files

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer
    from warehouse.cohorts.definition import Definition


def digest_steps(cohort: CohortAnswer, *, answer_only: bool = False) -> Mapping[str, frozenset[int]]:
    """The patients of the answer, and those of each step that identifies patients."""
    steps = attrition.list_counted(cohort)
    if answer_only:
        steps = steps[:1]
    found = cohort.fetch(attrition.build_query(cohort, steps, "reports/attrition_patients.sql"))
    digests = _to_numbers(found)
    regions = found["region"].to_pylist()
    names = _name_steps(cohort.definition)
    return {
        names[step.name] if place else "": frozenset(
            digest for digest, region in zip(digests, regions, strict=True) if region[place] == "1"
        )
        for place, step in enumerate(steps)
    }


def _name_steps(definition: Definition) -> dict[str, str]:
    """The names under which steps are compared: by their text and that of the steps they read, where values are
    parameters, because several included cohorts begin alike; else by their own, because the text has the values."""
    if not definition.params:
        return {step.name: f"{definition.name}: {step.name}" for step in definition.steps}
    names: dict[str, str] = {}
    for step in definition.steps:
        text = "\n".join([definition.sql[step.start : step.end], *(names.get(read, read) for read in step.reads)])
        names[step.name] = f"step {hashlib.sha256(text.encode()).hexdigest()}"
    return names


def digest_characteristics(cohort: CohortAnswer) -> Mapping[str, frozenset[int]]:
    """The patients of the answer, and the same with all that a table 1 counts of them."""
    con = cohort.warehouse.con
    con.register("cohort_rows", cohort.rows)
    try:
        query = sql_files.fill(
            sql_files.read("reports/table1_patients.sql"),
            grain=cohort.definition.grain_column,
            is_of_patients=str(cohort.definition.grain == "patient").lower(),
        )
        found = con.execute(query).to_arrow_table()
    finally:
        con.unregister("cohort_rows")
    return {**digest_steps(cohort, answer_only=True), "table 1": frozenset(_to_numbers(found))}


def _to_numbers(found: pa.Table) -> list[int]:
    import pyarrow as pa

    numbers: list[int] = found["patient"].cast(pa.uint64()).to_pylist()
    return numbers
