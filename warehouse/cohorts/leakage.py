"""Warns of leakage: facts other than labels that happened, or were uploaded, after the index image.

A fact has two dates: it happens on its event date (sql/columns: `event_date`), and is available from the upload of the
clinical file. The index date of a row is its StudyDate, or the column index_date if the answer has one. The sources of
labels are exempt, because an outcome is meant to be in the future. Without a lake, the warnings list possible leakage;
with one, they count it: rows, or patients where counts are rounded, because the SQL may fix how many rows a patient
has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.catalog import columns
from warehouse.cohorts import column_lineage
from warehouse.cohorts.definition import Definition
from warehouse.cohorts.header import Problem
from warehouse.disclosure_control import format_rounded, round_regions
from warehouse.engine.names import fold_name
from warehouse.engine.sql_files import identifier
from warehouse.settings import require_base

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer
    from warehouse.cohorts.column_lineage import Base

_OFFER = (
    "For the record known by then, use  inner join lateral (from known_at(patient_id, StudyDate)) as record on true, "
    "instead of clinical"
)


def map_event_dates() -> dict[Base, str]:
    """Map the facts of the views to the column with their event date, "" if none is declared."""
    found = {}
    for view in ("clinical", "clinical_history"):
        for column in columns.load_relations()[view].columns:
            if (column.is_field or column.kind == "unit" or column.name == "kind") and column.event_date != "always":
                found[view, column.name] = column.event_date
    for column in columns.load_relations()["patients"].columns:
        if column.event_date != "always":
            found["patients", column.name] = column.event_date
    return found


def find_warnings(definition: Definition, cohort: CohortAnswer | None = None, suppress: int = 0) -> list[Problem]:
    """List the facts that a cohort uses and that may be later than its images; counted if an answer is given.

    With `suppress` patients are counted, rounded to its multiples; with 0 rows, exactly. UsageError for a base that
    does not protect.
    """
    require_base(suppress)
    traced = column_lineage.trace_columns(definition)
    exempt = set().union(*(traced.answer.get(fold_name(label), set()) for label in definition.labels), set())
    uses = [*traced.filters]
    for name, bases in traced.answer.items():
        if name not in {fold_name(label) for label in definition.labels}:
            uses.append(column_lineage.Use(definition.answer.line, f"column {name}", frozenset(bases)))
    dates = map_event_dates()
    found: list[Problem] = []
    seen: set[tuple[Base, str]] = set()
    for use in sorted(uses, key=lambda u: u.line):
        for base in sorted(use.base - exempt):
            kind = "column" if use.where.startswith("column") else "filter"
            if base in dates and (base, kind) not in seen:
                seen.add((base, kind))
                if message := _describe_warning(base, dates[base], use.where, cohort, suppress):
                    found.append(Problem(use.line, message, "warning"))
    facts = {base for use in uses for base in use.base - exempt if base[0] in ("clinical", "patients")}
    facts = {base for base in facts if base in dates or _is_input(base)}
    if facts:
        found += _find_late_uploads(definition, facts, cohort, suppress)
    return found


def _is_input(base: Base) -> bool:
    """Whether a column is a value of the clinical record, with or without an event date."""
    return base[1] in {column.name for column in columns.list_record_columns()}


def _describe_warning(base: Base, event: str, where: str, cohort: CohortAnswer | None, suppress: int) -> str:
    """Describe the warning for a fact; empty if it always precedes the index image in the answer."""
    fact = base[1]
    if cohort is None:
        if not event:
            return f"The {where} uses {fact}, which has no date and may be later than the index image."
        return f"The {where} uses {fact}, dated {event}, which may be later than the index image."
    found = _count_after_index(cohort, base, event, suppress)
    parts = []
    if found.late:
        parts.append(f"is later than the index image in {found.late}")
    if found.undated:
        parts.append(f"has no date in {found.undated}")
    if not parts:
        return ""
    by = f" (by {event})" if event and event != fact else ""
    return f"The {where} uses {fact}, which{by} {' and '.join(parts)}."


@dataclass(frozen=True, slots=True)
class _Shares:
    """How many of the rows or patients have a fact that is late, and one without a date, in words; "" if none has."""

    late: str
    undated: str


def _count_after_index(cohort: CohortAnswer, base: Base, event: str, suppress: int) -> _Shares:
    """Count those whose fact is later than the index date, and those whose fact has no date, among all."""
    view, fact = base
    source = "patients" if view == "patients" and event in _list_columns("patients") | {""} else "clinical"
    fact = fact if fact in _list_columns(source) else "kind"
    day = f"facts.{identifier(event)}" if event else "cast(null as date)"
    if source == "clinical" and event in ("swabdate", "swabdates"):
        day = "coalesce(facts.swabdate, list_max(list_transform(facts.swabdates, lambda swab: swab.swabdate)))"
    # A null or false fact has not happened.
    happened = f"facts.{identifier(fact)} is not null and cast(facts.{identifier(fact)} as varchar) <> 'false'"
    return _count(
        cohort,
        f"""select person, {happened} and {day} > index_day as is_late, {happened} and {day} is null as is_undated
        from indexed left join {source} as facts on indexed.patient_id = facts.patient_id""",
        suppress,
    )


def _find_late_uploads(
    definition: Definition, facts: set[Base], cohort: CohortAnswer | None, suppress: int
) -> list[Problem]:
    """Report the facts from clinical files that were uploaded after the index image."""
    names = ", ".join(sorted({name for _, name in facts}))
    if cohort is None:
        message = (
            f"{names}: available from the upload of the clinical file, which may be after the index image. {_OFFER}."
        )
        return [Problem(definition.answer.line, message, "note")]
    found = _count(
        cohort,
        """select person, facts.available_date > index_day as is_late, false as is_undated
        from indexed left join clinical as facts on indexed.patient_id = facts.patient_id""",
        suppress,
    )
    if not found.late:
        return []
    message = f"{names}: uploaded after the index image in {found.late}. {_OFFER}."
    return [Problem(definition.answer.line, message, "note")]


def _list_columns(view: str) -> set[str]:
    return {column.name for column in columns.load_relations()[view].columns}


def _count(cohort: CohortAnswer, query: str, suppress: int) -> _Shares:
    """Count a fact of each row of `indexed`: the rows of the answer with their patients and index dates.

    A patient has a late fact if any row has. The numbers are rounded together, that of all patients first.
    """
    grain = cohort.definition.grain_column
    names = {fold_name(name): name for name in cohort.rows.column_names}
    day = next((names[name] for name in ("index_date", "studydate") if name in names), "")
    con = cohort.warehouse.con
    con.register("cohort_answer", cohort.rows)
    try:
        rows = con.execute(
            f"""with days as (
                select {grain} as id, min(patient_id) as patient_id, min(StudyDate) as StudyDate
                from images where {grain} in (select {grain} from cohort_answer) group by {grain}
            ),
            indexed as (
                select
                    {"answer.patient_id" if grain == "patient_id" else "days.patient_id"} as person,
                    days.patient_id,
                    {f"answer.{identifier(day)}" if day else "days.StudyDate"} as index_day
                from cohort_answer as answer left join days on answer.{grain} = days.id
            ),
            facts_of_rows as ({query}),
            marked as (select person, is_late is true as is_late, is_undated is true as is_undated from facts_of_rows),
            persons as (
                select bool_or(is_late) as is_late, bool_or(is_undated) as is_undated
                from marked where person is not null group by person
            )
            select printf('1%d%d', cast(is_late as integer), cast(is_undated as integer)) as region, count(*)
            from {"persons" if suppress else "marked"} group by region"""
        ).fetchall()
    finally:
        con.unregister("cohort_answer")
    return _to_shares({str(region): int(n) for region, n in rows}, suppress)


def _to_shares(regions: dict[str, int], suppress: int) -> _Shares:
    """Put rounded counts into words; a region has a digit each for being counted, late and undated."""
    shown, counted = round_regions(regions, suppress), "patients" if suppress else "rows"

    def describe(place: int) -> str:
        if not any(n for region, n in regions.items() if region[place] == "1"):
            return ""
        some = sum(n for region, n in shown.items() if region[place] == "1")
        return f"{format_rounded(some, suppress)} of {format_rounded(sum(shown.values()), suppress)} {counted}"

    return _Shares(describe(1), describe(2))
