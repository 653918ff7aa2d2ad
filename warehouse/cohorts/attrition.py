"""Counts what each step of a cohort leaves: patients, studies, series and images, in one query over all of it.

Every step is kept (`as materialized`) and counted from there, so that nothing is asked for twice. A step stands in
the flow below the step that its FROM begins with; what it lost is counted against that one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from warehouse import sqlfiles
from warehouse.cohorts import catalogue, suppress
from warehouse.cohorts.definition import Definition, Step

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.run import Cohort

#: What is counted of every step.
COUNTED = ("patients", "studies", "series", "images")
_IDS = ("patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True, slots=True)
class Count:
    """A step, counted. `after` names the step that it narrowed, "" where it begins from a view; `counts` are None where
    a step names no patient, study, series or image, `lost` where there is nothing to count against; `hidden` names
    those that are None because they are small, or would tell a small one."""

    step: str
    meaning: str
    after: str
    line: int
    reads: tuple[str, ...]
    counts: dict[str, int | None]
    lost: dict[str, int | None]
    hidden: frozenset[str] = frozenset()


def attrition(cohort: "Cohort") -> list[Count]:
    """Every step of the cohort, counted, in the order of the file; the answer comes last."""
    definition = cohort.definition
    rows = cohort.fetch(_query(definition, cohort.step_columns)).to_pylist()
    counts = {row["step"]: {what: row[what] for what in COUNTED} for row in rows}
    return list(_narrowed(definition, counts))


def table(steps: Sequence[Count]) -> "pa.Table":
    """The steps as a table: step, the one before, and what is left and lost of patients, studies, series and images."""
    import pyarrow as pa

    made: dict[str, Any] = {
        "step": pa.array([step.step for step in steps], pa.string()),
        "after": pa.array([step.after or None for step in steps], pa.string()),
    }
    for what in COUNTED:
        made[what] = pa.array([step.counts[what] for step in steps], pa.int64())
        made[f"{what}_lost"] = pa.array([step.lost[what] for step in steps], pa.int64())
    if any(step.hidden for step in steps):
        made["hidden"] = pa.array([", ".join(sorted(step.hidden)) or None for step in steps], pa.string())
    return pa.table(made)


def suppressed(steps: Sequence[Count], least: int) -> list[Count]:
    """The same with small counts and small losses hidden, and whatever else would tell them."""
    places = {step.step: place for place, step in enumerate(steps)}
    shown: dict[str, list[bool]] = {}
    for what in COUNTED:
        counts = [step.counts[what] or 0 for step in steps]
        # A step that is not counted hides nothing and is no way to anything.
        after = [places[s.after] if s.after and s.lost[what] is not None else None for s in steps]
        shown[what] = suppress.chain(counts, after, least)
    return [_suppressed(step, place, places, shown) for place, step in enumerate(steps)]


def _suppressed(step: Count, place: int, places: dict[str, int], shown: dict[str, list[bool]]) -> Count:
    counts = {what: n if shown[what][place] else None for what, n in step.counts.items()}
    lost = {
        what: n if shown[what][place] and (not step.after or shown[what][places[step.after]]) else None
        for what, n in step.lost.items()
    }
    hidden = {what for what in COUNTED if counts[what] != step.counts[what]}
    hidden |= {f"lost {what}" for what in COUNTED if lost[what] != step.lost[what]}
    return replace(step, counts=counts, lost=lost, hidden=frozenset(hidden))


def _narrowed(definition: Definition, counts: dict[str, dict[str, int | None]]) -> Iterator[Count]:
    nothing: dict[str, int | None] = dict.fromkeys(COUNTED)
    for step in (*definition.steps, definition.answer):
        after, here = counts.get(step.after, nothing), counts.get(step.name, nothing)
        lost = {what: _less(after[what], here[what]) for what in COUNTED}
        yield Count(step.name, step.meaning, step.after, step.line, step.reads, here, lost)


def _less(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else before - now


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
    return sqlfiles.identifier(f"of {name}")


def _count(step: Step, has: list[str]) -> str:
    """The row of a step, by the finest thing that it names."""
    finest, table = has[-1], catalogue.table(step)
    names = COUNTED[-len(_SUMS[finest]) :]
    sums = ", ".join(
        f"coalesce(cast({part} as bigint), 0) as {name}" for part, name in zip(_SUMS[finest], names, strict=True)
    )
    head = f"select {sqlfiles.literal(step.name)} as step, "
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
