"""Table 1: who is in a cohort. Counts the patients of an answer by characteristic, and by group.

    wh.cohort("covid_risk").table1(by="covid_status").render("md")

A patient counts once, whatever the grain, and in one group: the groups are a partition, so that they add up. Missing
values are a level of their own that counts in denominators, as by default in the library tableone, or counted apart.

If counts are rounded, everything shown (percentages, means, medians, standardised differences) is computed from the
rounded tables, ages from their decades, and discloses no more than these tables do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import group_statistics as statistics
from warehouse.cohorts.group_statistics import FEWEST, Summary
from warehouse.cohorts.levels import NO_VALUE, SEVERAL, require_levels, round_levels_by
from warehouse.disclosure_control import Table
from warehouse.engine import sql_files
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError
from warehouse.settings import SUPPRESS, require_base

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer

#: The characteristics, in their order, with their titles.
TITLES = {
    "age_group": "Age group, years",
    "sex": "Sex",
    "ethnicity": "Ethnicity",
    "centre": "Centre",
    "modality": "Modality",
    "manufacturer": "Scanner (manufacturer)",
    "covid_status": "COVID-19 status",
    "cxr_severity": "Severity of first chest X-ray",
    "news2": "NEWS2 on arrival",
    "admission": "Admission dated",
    "itu": "Intensive care",
    "intubation": "Intubated",
    "death": "Died",
}
#: How the codes of a sex are shown.
SEXES = {"F": "female", "M": "male", "O": "other"}
AGE, AGE_TITLE = "age", "Age, years"
#: The column of all patients.
OVERALL = "Overall"
_ALL = ""
_MOST_GROUPS = 40


@dataclass(frozen=True, slots=True)
class Characteristic:
    """A characteristic by level: `table` has a row per level, and one for missing values if there are any.

    `summaries` has the statistics of a number by group, where they may be shown; `smd` those of each pair of groups.
    """

    name: str
    title: str
    table: Table
    summaries: dict[str, Summary]
    smd: dict[tuple[str, str], float | None]
    is_missing_counted: bool

    @property
    def levels(self) -> list[str]:
        """The levels that percentages are of; missing is the last, if it is counted."""
        return [row for row in self.table.rows if self.is_missing_counted or row != NO_VALUE]

    @property
    def is_number(self) -> bool:
        """Whether it has a mean and quartiles."""
        return self.name == AGE

    def count(self, level: str, group: str) -> int:
        """How many patients of a group, or of all, have a level; NO_VALUE counts the missing."""
        table = self.table
        return table.row_totals.get(level, 0) if group == OVERALL else table.cells.get((level, group), 0)

    def count_known(self, group: str) -> int:
        """How many patients of a group have one of the levels: the denominator of percentages."""
        return sum(self.count(level, group) for level in self.levels)

    def find_largest(self) -> tuple[tuple[str, str], float] | None:
        """The pair of groups that differ most, and by how much."""
        known = [(pair, value) for pair, value in self.smd.items() if value is not None]
        return max(known, key=lambda item: abs(item[1])) if known else None


@dataclass(frozen=True, slots=True)
class Table1:
    """The characteristics of a cohort's patients. `groups` are the values of `by`, without `OVERALL`."""

    title: str
    source: str
    by: str
    groups: tuple[str, ...]
    n: dict[str, int]
    characteristics: tuple[Characteristic, ...]
    suppress: int
    is_missing_counted: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Overall, then each group."""
        return (OVERALL, *self.groups)

    def render(self, form: str = "md", *, numeric: str = "mean") -> str:
        """Render as `md`, `tex`, `html` or `csv`; ages as "mean" (SD) or "median" [Q1,Q3]. UsageError for another."""
        from warehouse.cohorts import table1_formats

        return table1_formats.render(self, form, numeric)

    def to_table(self) -> pa.Table:
        """Tabulate as Arrow: a row for each characteristic, level and group, with every number."""
        from warehouse.cohorts import table1_data

        return table1_data.to_arrow(self)

    def _repr_html_(self) -> str:
        """The table for a notebook."""
        from warehouse.cohorts import table1_formats

        return table1_formats.render_html_table(self, "mean")


def list_classes(cohort: CohortAnswer) -> list[str]:
    """The columns whose groups are classes that patients share: labels that are texts or true or false, and the
    characteristics. A group by a day or a number may be one patient's."""
    import pyarrow as pa

    types = {name: cohort.rows.schema.field(name).type for name in cohort.definition.labels}
    return [*(name for name, kind in types.items() if pa.types.is_string(kind) or pa.types.is_boolean(kind)), *TITLES]


def tabulate_characteristics(
    cohort: CohortAnswer, by: str | None = None, suppress: int = SUPPRESS, *, count_missing: bool = True
) -> Table1:
    """Tabulate the characteristics of the patients in a cohort's answer, overall and for each value of `by`.

    `by` is a column of the answer (a label, split), else a characteristic such as centre; rows without a value of it
    are ignored if the patient has others. With `count_missing`, missing values are a level that counts in denominators
    and differences, which is the default of tableone; else they are only counted apart. Counts are rounded to
    multiples of `suppress`; 0 gives exact counts.
    UsageError for an unknown `by`, or one of more than 40 values.
    """
    require_base(suppress)
    names = cohort.rows.column_names
    of_answer = by is not None and by in names
    if by is not None and not of_answer and by not in TITLES:
        known = [*names, *TITLES]
        raise UsageError(
            f"The answer of {cohort.definition.name} has no column {by}, nor is it a characteristic of table 1."
            f"{suggest_nearest(by, known)}"
        )
    if by is not None:
        require_levels(by, suppress)
    cohort.warehouse.require("patients", "centre")
    counts: dict[str, dict[tuple[str, str, str], int]] = {name: defaultdict(int) for name in TITLES if name != by}
    exact: dict[str, Summary] = {}
    for row in _fetch_counts(cohort, by if of_answer else None, "" if of_answer else by or ""):
        group = _ALL if by is None else NO_VALUE if row["by_value"] is None else row["by_value"]
        if row["variable"] == AGE:
            numbers = (row[name] for name in ("n", "mean", "sd", "q1", "median", "q3"))
            exact[OVERALL if row["level"] == "overall" else group] = Summary(*numbers)
        elif row["variable"] in counts:
            counts[row["variable"]][row["level"] or NO_VALUE, group, row["covid_status"] or NO_VALUE] += row["n"]
    return build(cohort.definition.title, _describe_source(cohort), by, counts, exact, suppress, count_missing)


def build(
    title: str,
    source: str,
    by: str | None,
    counts: Mapping[str, Mapping[tuple[str, str, str], int]],
    exact: Mapping[str, Summary],
    suppress: int,
    count_missing: bool = True,
) -> Table1:
    """Round the counts of each characteristic by level, group and status, and compute all else from what is rounded.

    `exact` has the statistics of the ages, which are used only where counts are exact.
    """
    tables = {name: round_levels_by(cells, suppress) for name, cells in counts.items()}
    first = next(iter(tables.values()))
    shown = tuple(group for group in first.columns if group != _ALL)
    compared = [pair for pair in combinations(shown, 2) if not {SEVERAL, NO_VALUE} & set(pair)]
    found = [_describe_shares(name, table, compared, suppress, count_missing) for name, table in tables.items()]
    if "age_group" in tables:
        found.insert(0, _describe_age(tables["age_group"], shown, compared, exact if suppress < 2 else None))
    n = {OVERALL: first.total, **{group: first.column_totals[group] for group in shown}}
    return Table1(title, source, by or "", shown, n, tuple(found), suppress, count_missing)


def _describe_shares(
    name: str, table: Table, pairs: Sequence[tuple[str, str]], suppress: int, count_missing: bool
) -> Characteristic:
    described = Characteristic(name, TITLES[name], table, {}, {}, count_missing)
    of_group = {group: [table.cells[level, group] for level in described.levels] for group in table.columns}
    # Of a handful of persons, whose counts are one or two multiples, a difference is that of the rounding.
    least = FEWEST if suppress > 1 else 1
    smd = {
        (a, b): statistics.compare_shares(of_group[a], of_group[b])
        if min(sum(of_group[a]), sum(of_group[b])) >= least
        else None
        for a, b in pairs
    }
    return replace(described, smd=smd)


def _describe_age(
    bands: Table, groups: Sequence[str], pairs: Sequence[tuple[str, str]], exact: Mapping[str, Summary] | None
) -> Characteristic:
    """The ages as a number: from the exact statistics, or from the rounded decades if there are none."""
    described = Characteristic(AGE, AGE_TITLE, bands, {}, {}, is_missing_counted=False)
    if exact is not None:
        found = {group: exact[group] for group in (OVERALL, *groups) if group in exact}
    else:
        decades = {level: int(level.partition(" ")[0]) for level in described.levels}
        found = {
            group: statistics.summarize_bands({decades[level]: described.count(level, group) for level in decades})
            for group in (OVERALL, *groups)
            if described.count_known(group) >= FEWEST
        }
    smd = {(a, b): statistics.compare_means(found.get(a), found.get(b)) for a, b in pairs}
    return replace(described, summaries=found, smd=smd)


def _describe_source(cohort: CohortAnswer) -> str:
    wh = cohort.warehouse
    day = f", as of {wh.day}" if wh.day else ""
    return f"{cohort.definition.name}, group {wh.group_name}{day}, snapshot {wh.snapshot.number}"


def _fetch_counts(cohort: CohortAnswer, column: str | None, by: str) -> list[dict[str, Any]]:
    """Count the patients by characteristic, level and group, which is a column of the answer or a characteristic."""
    con = cohort.warehouse.con
    con.register("cohort_answer", _select_answer(cohort, column))
    try:
        query = sql_files.fill(sql_files.read("reports/table1.sql"), grain=cohort.definition.grain_column)
        found = con.execute(query, {"several": SEVERAL, "by": by}).to_arrow_table()
    finally:
        con.unregister("cohort_answer")
    values = {row["by_value"] for row in found.to_pylist()}
    if len(values) > _MOST_GROUPS:
        raise UsageError(
            f"{column or by} has more than {_MOST_GROUPS} values, too many for the columns of a table. "
            "Choose a column with few values, or group its values in the cohort."
        )
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def _select_answer(cohort: CohortAnswer, column: str | None) -> pa.Table:
    """The answer as id, patient_id and by_value."""
    import pyarrow as pa

    rows = cohort.rows
    nulls = pa.nulls(rows.num_rows, pa.string())
    values = nulls if column is None else pa.array(map(_to_text, rows[column].to_pylist()), pa.string())
    return pa.table(
        {
            "id": rows[cohort.definition.grain_column],
            "patient_id": rows["patient_id"] if "patient_id" in rows.column_names else nulls,
            "by_value": values,
        }
    )


def _to_text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
