"""Finds the step where two answers of one definition diverge: one that depends on the row alone, or one that ranks.

A step ranks if it compares patients with each other: it has a window that is partitioned neither by row nor by patient,
over earlier steps. A row that first differs at such a step differs because of other patients.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from warehouse.cohorts import binding
from warehouse.cohorts.definition import Definition, Step
from warehouse.engine.sql_files import identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.cohorts.answer import CohortAnswer


def list_counted_steps(cohort: CohortAnswer) -> list[Step]:
    """List the steps on the path to the answer that have the cohort's grain column."""
    definition = cohort.definition
    known = {step.name: step for step in definition.steps}
    chain = [definition.answer]
    while chain[0].after:
        chain.insert(0, known[chain[0].after])
    return [step for step in chain if definition.grain_column in cohort.step_columns[step.name]]


def find_displaced(old: CohortAnswer, new: CohortAnswer, names: Iterable[str]) -> set[str]:
    """Find the rows, by id, that first differ at a ranking step: other patients displaced them or made room.

    Empty if the two definitions differ.
    """
    wanted = sorted(names)
    if old.definition.sql != new.definition.sql or not wanted:
        return set()
    steps = list_counted_steps(new)
    ranking = {step.name for step in steps if _is_ranking(new.definition, step)}
    if not ranking:
        return set()
    before, after = (_fetch_values(cohort, steps, wanted) for cohort in (old, new))
    found = set()
    for name in wanted:
        diverged = next((s for s in steps if before[s.name, name] != after[s.name, name]), None)
        if diverged is not None and diverged.name in ranking:
            found.add(name)
    return found


def _fetch_values(cohort: CohortAnswer, steps: list[Step], names: list[str]) -> dict[tuple[str, str], list[str]]:
    """Fetch the rows of each step for each id, as sorted text."""
    column = cohort.definition.grain_column
    query = "\nunion all ".join(
        f"select {place} as place, {column} as name, "
        f"cast(row({', '.join(map(identifier, cohort.step_columns[step.name]))}) as varchar) as value "
        f"from {binding.quote_step(step)} where {column} in (select unnest($the_names))"
        for place, step in enumerate(steps)
    )
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in cohort.fetch(cohort.definition.followed_by(query), the_names=names).to_pylist():
        found[steps[row["place"]].name, row["name"]].append(row["value"])
    return defaultdict(list, {place: sorted(values) for place, values in found.items()})


def _is_ranking(definition: Definition, step: Step) -> bool:
    """Whether a step compares rows of several patients, and reads only earlier steps."""
    from sqlglot import exp

    query = next((cte.this for cte in definition.tree.ctes if cte.alias == step.name), None)
    if query is None:
        return False
    known = {s.name.lower() for s in definition.steps}
    if any(table.name.lower() not in known for table in query.find_all(exp.Table)):
        return False
    own = {definition.grain_column.lower(), "patient_id"}
    for window in query.find_all(exp.Window):
        parts = window.args.get("partition_by") or []
        if own.isdisjoint(column.name.lower() for part in parts for column in part.find_all(exp.Column)):
            return True
    return False
