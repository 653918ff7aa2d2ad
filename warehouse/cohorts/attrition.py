"""Counts the patients, studies, series and images that remain after each step of a cohort, in a single query.

Every step is materialized (`as materialized`) and counted from there, so that nothing is computed twice. In the flow,
a step follows the step that its FROM begins with; its losses are counted against that one.

Where counts are rounded, only patients are counted. The SQL of a cohort may fix how many studies, series or images each
patient has: a rounded number of those, divided by it, would be a number of patients, and not a rounded one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import binding
from warehouse.cohorts.definition import Definition, Step
from warehouse.disclosure_control import round_regions
from warehouse.engine import sql_files
from warehouse.settings import require_base

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer

#: What is counted in every step.
COUNTED = ("patients", "studies", "series", "images")
_IDS = ("patient_id", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True, slots=True)
class Count:
    """The counts of a step. `after` is the step that it narrows, "" if it begins from a view; `counts` are None if it
    identifies no patient, study, series or image, and `lost` if there is nothing to compare with. Where counts are
    rounded, those of studies, series and images are None."""

    step: str
    meaning: str
    after: str
    line: int
    reads: tuple[str, ...]
    counts: dict[str, int | None]
    lost: dict[str, int | None]


def count_steps(cohort: CohortAnswer, suppress: int = 0) -> list[Count]:
    """Count every step of the cohort, in the order of the file; the answer comes last.

    Patients are rounded to multiples of `suppress`, all steps together (disclosure_control.round_regions), the losses
    of a step are differences of rounded counts, and nothing else is counted; 0 gives exact counts of everything.
    UsageError for a base that does not protect.
    """
    require_base(suppress)
    steps = list_counted(cohort)
    names = [step.name for step in steps]
    regions: dict[str, dict[str, int]] = {what: {} for what in COUNTED}
    for row in cohort.fetch(build_query(cohort, steps, "reports/attrition.sql")).to_pylist() if steps else ():
        regions[row["what"]][row["region"]] = row["n"]
    return list(add_up(cohort.definition, names, regions, suppress))


def add_up(
    definition: Definition, names: Sequence[str], regions: Mapping[str, Mapping[str, int]], suppress: int = 0
) -> Iterator[Count]:
    """Sum the regions of the Venn diagram to the counts of each step: a region's key has one digit per step in `names`,
    1 if the region is in that step."""
    counts: dict[str, dict[str, int | None]] = {name: dict.fromkeys(COUNTED) for name in names}
    for what in COUNTED[:1] if suppress else COUNTED:
        sizes = round_regions(regions[what], suppress)
        for place, name in enumerate(names):
            counts[name][what] = sum(n for key, n in sizes.items() if key[place] == "1")
    nothing: dict[str, int | None] = dict.fromkeys(COUNTED)
    for step in (*definition.steps, definition.answer):
        before, here = counts.get(step.after, nothing), counts.get(step.name, nothing)
        yield Count(step.name, step.meaning, step.after, step.line, step.reads, here, _subtract(before, here))


def count_patients(cohort: CohortAnswer, suppress: int = 0) -> int:
    """Count the patients of the answer, rounded as in the counts of the steps."""
    return count_steps(cohort, suppress)[-1].counts["patients"] or 0


def to_table(steps: Sequence[Count]) -> pa.Table:
    """Tabulate the steps: step, preceding step, and remaining and lost patients, studies, series and images."""
    import pyarrow as pa

    made: dict[str, Any] = {
        "step": pa.array([step.step for step in steps], pa.string()),
        "after": pa.array([step.after or None for step in steps], pa.string()),
    }
    for what in COUNTED:
        made[what] = pa.array([step.counts[what] for step in steps], pa.int64())
        made[f"{what}_lost"] = pa.array([step.lost[what] for step in steps], pa.int64())
    return pa.table(made)


def _subtract(before: dict[str, int | None], now: dict[str, int | None]) -> dict[str, int | None]:
    return {
        what: None if (then := before.get(what)) is None or (left := now[what]) is None else then - left
        for what in COUNTED
    }


def _ids(cohort: CohortAnswer, step: Step) -> list[str]:
    """The identifier columns of a step, the finest last."""
    return [name for name in _IDS if name in cohort.step_columns[step.name]]


def list_counted(cohort: CohortAnswer) -> list[Step]:
    """The steps that identify something, in the order of the digits of a region: the answer first."""
    definition = cohort.definition
    return [step for step in (definition.answer, *reversed(definition.steps)) if _ids(cohort, step)]


def build_query(cohort: CohortAnswer, steps: Sequence[Step], report: str) -> str:
    """Build the query of a report over all steps, a file of sql/.

    A step with all four identifiers is counted as it is; for any other, the images of the view that belong to its rows
    are counted. Patients without an image are counted from the steps that have only patient_id.
    """
    definition, columns = cohort.definition, cohort.step_columns
    marks, members = [], []
    for place, step in enumerate(steps):
        has = [name for name in _IDS if name in columns[step.name]]
        table, own = binding.quote_step(step), _region(place, len(steps))
        if has == [*_IDS]:
            members.append(f"select {', '.join(_IDS)}, {own} from {table}")
            marks.append("'0'")
            continue
        if has == ["patient_id"]:
            members.append(f"select patient_id, null, null, null, {own} from {table}")
        by = ", ".join(name for name in has if name in (has[-1], "patient_id"))
        marks.append(f"case when ({by}) in (select {by} from {table}) then '1' else '0' end")
    images = f"select {', '.join(_IDS)}, cast({' || '.join(marks)} as bit) as region from images"
    holes = {"members": "\nunion all\n".join([images, *members])}
    return definition.followed_by(sql_files.fill(sql_files.read(report), **holes))


def _region(place: int, n_steps: int) -> str:
    """The region of rows that are in a single step."""
    return f"cast('{'0' * place}1{'0' * (n_steps - place - 1)}' as bit)"
