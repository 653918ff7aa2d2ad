"""Counts what each step of a cohort leaves: patients, studies, series and images, in one query over all of it.

Every step is kept (`as materialized`) and counted from there, so that nothing is asked for twice. A step stands in
the flow below the step that its FROM begins with; what it lost is counted against that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import binding
from warehouse.cohorts.definition import Definition, Step
from warehouse.disclosure_control import round_count
from warehouse.engine import sql_files

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer

#: What is counted of every step.
COUNTED = ("patients", "studies", "series", "images")
_IDS = ("patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True, slots=True)
class Count:
    """A step, counted. `after` names the step that it narrowed, "" where it begins from a view; `counts` are None where
    a step names no patient, study, series or image, `lost` where there is nothing to count against."""

    step: str
    meaning: str
    after: str
    line: int
    reads: tuple[str, ...]
    counts: dict[str, int | None]
    lost: dict[str, int | None]


def count_steps(cohort: CohortAnswer) -> list[Count]:
    """Every step of the cohort, counted, in the order of the file; the answer comes last."""
    definition = cohort.definition
    rows = cohort.fetch(_query(definition, cohort.step_columns)).to_pylist()
    counts = {row["step"]: {what: row[what] for what in COUNTED} for row in rows}
    return list(_narrowed(definition, counts))


def to_table(steps: Sequence[Count]) -> pa.Table:
    """The steps as a table: step, the one before, and what is left and lost of patients, studies, series and images."""
    import pyarrow as pa

    made: dict[str, Any] = {
        "step": pa.array([step.step for step in steps], pa.string()),
        "after": pa.array([step.after or None for step in steps], pa.string()),
    }
    for what in COUNTED:
        made[what] = pa.array([step.counts[what] for step in steps], pa.int64())
        made[f"{what}_lost"] = pa.array([step.lost[what] for step in steps], pa.int64())
    return pa.table(made)


def suppress_counts(steps: Sequence[Count], base: int) -> list[Count]:
    """The same with counts rounded to the base; what a step lost is the difference of rounded counts."""
    rounded = {
        step.step: {what: None if n is None else round_count(n, base) for what, n in step.counts.items()}
        for step in steps
    }
    return [
        replace(step, counts=rounded[step.step], lost=_lost(rounded.get(step.after, {}), rounded[step.step]))
        for step in steps
    ]


def _narrowed(definition: Definition, counts: dict[str, dict[str, int | None]]) -> Iterator[Count]:
    nothing: dict[str, int | None] = dict.fromkeys(COUNTED)
    for step in (*definition.steps, definition.answer):
        after, here = counts.get(step.after, nothing), counts.get(step.name, nothing)
        yield Count(step.name, step.meaning, step.after, step.line, step.reads, here, _lost(after, here))


def _lost(before: dict[str, int | None], now: dict[str, int | None]) -> dict[str, int | None]:
    return {
        what: None if (then := before.get(what)) is None or (left := now[what]) is None else then - left
        for what in COUNTED
    }


#: What stands for the images of a patient, a study or a series: counted once, from the images that the cohort may see.
_PARTS = {
    "SeriesInstanceUID": """
        select patient_id, StudyInstanceUID, SeriesInstanceUID, count(*) as n_images
        from images group by patient_id, StudyInstanceUID, SeriesInstanceUID""",
    "StudyInstanceUID": """
        select patient_id, StudyInstanceUID, count(distinct SeriesInstanceUID) as n_series, count(*) as n_images
        from images group by patient_id, StudyInstanceUID""",
    "patient_id": """
        select
            patient_id,
            count(distinct StudyInstanceUID) as n_studies,
            count(distinct SeriesInstanceUID) as n_series,
            count(*) as n_images
        from images group by patient_id""",
}
_SUMS = {
    "SOPInstanceUID": [f"count(distinct {name})" for name in _IDS],
    "SeriesInstanceUID": [*(f"count(distinct {name})" for name in _IDS[:3]), "sum(n_images)"],
    "StudyInstanceUID": [*(f"count(distinct {name})" for name in _IDS[:2]), "sum(n_series)", "sum(n_images)"],
    "patient_id": ["sum(n_studies)", "sum(n_series)", "sum(n_images)"],
}


def _query(definition: Definition, columns: dict[str, dict[str, str]]) -> str:
    """One query over all steps: a row for each that names anything, with what it counts."""
    counted, needed = [], set()
    for step in (*definition.steps, definition.answer):
        has = [name for name in _IDS if name in columns[step.name]]
        if has:
            counted.append(_count(step, has))
            needed.add(has[-1])
    parts = [f"{_of(name)} as materialized ({_PARTS[name]})" for name in _PARTS if name in needed]
    head = f", {', '.join(parts)}" if parts else ""
    return definition.followed_by(
        f"{head}\n{' union all '.join(counted)}" if counted else "select '' as step where false"
    )


def _of(name: str) -> str:
    """The name under which the parts of an identifier are counted; no step can be called so."""
    return sql_files.identifier(f"of {name}")


def _count(step: Step, has: list[str]) -> str:
    """The row of a step, by the finest thing that it names."""
    finest, table = has[-1], binding.table(step)
    names = COUNTED[-len(_SUMS[finest]) :]
    sums = ", ".join(
        f"coalesce(cast({part} as bigint), 0) as {name}" for part, name in zip(_SUMS[finest], names, strict=True)
    )
    head = f"select {sql_files.literal(step.name)} as step, "
    if finest == "patient_id":
        patients = f"(select count(distinct patient_id) from {table})"
        named = f"patient_id in (select patient_id from {table})"
        return f"{head}{patients} as patients, {sums} from {_of(finest)} where {named}"
    if finest == "SOPInstanceUID" and len(has) == len(_IDS):
        return f"{head}{sums} from {table}"
    source = "images" if finest == "SOPInstanceUID" else _of(finest)
    by = f"({', '.join(n for n in has if n in (finest, 'patient_id'))})" if "patient_id" in has else finest
    columns = by.strip("()")
    return f"{head}{sums} from {source} where {by} in (select {columns if by == finest else by} from {table})"
