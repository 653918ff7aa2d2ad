"""How each step of a cohort shifts age, sex, ethnicity and centre of its patients, beside the counts of attrition.

As in equiflow (Ellen et al. 2024, J Biomed Inform 152:104631): the distribution after each step, and its standardised
difference from that of the step before. The regions of the steps are rounded as in attrition, and the levels of each
region to that: so the levels of a step add up to its patients, and no step has fewer of a level than the one after it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import attrition
from warehouse.cohorts import group_statistics as statistics
from warehouse.cohorts.group_statistics import FEWEST, Summary
from warehouse.cohorts.levels import (
    NO_VALUE,
    is_last_missing,
    list_levels,
    order_levels,
    round_levels,
    round_parts_in_turn,
)
from warehouse.cohorts.table1 import SEXES, TITLES
from warehouse.disclosure_control import round_apart, round_regions
from warehouse.settings import require_base

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer

#: The characteristics that are followed.
FOLLOWED = ("age_group", "sex", "ethnicity", "centre")
_Counts = dict[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class Demographics:
    """The patients of a step: how many have each level of each characteristic, their ages, and the differences from the
    step before, None for the first and where there are too few patients."""

    step: str
    after: str
    patients: int
    levels: dict[str, dict[str, int]]
    age: Summary | None
    smd: dict[str, float | None]


def follow_demographics(cohort: CohortAnswer, suppress: int = 0) -> list[Demographics]:
    """Tabulate the patients of every step that identifies some, in the order of the file; the answer comes last.

    Counts are rounded to multiples of `suppress`, and means and differences computed from them; 0 gives exact numbers.
    """
    require_base(suppress)
    cohort.warehouse.require("patients", "centre")
    steps = attrition.list_counted(cohort)
    query = attrition.build_query(cohort, steps, "reports/attrition_demographics.sql")
    rows = cohort.fetch(query).to_pylist() if steps else []
    return build(cohort, [step.name for step in steps], rows, suppress)


def build(
    cohort: CohortAnswer, names: Sequence[str], rows: Sequence[Mapping[str, Any]], suppress: int
) -> list[Demographics]:
    """Round the regions and their levels, and add them up by step."""
    regions = _count_regions(rows)
    sizes = {region: counts["sex"].total() for region, counts in regions.items()}
    totals = round_regions(sizes, suppress)
    rounded = {region: _round_levels(counts, suppress, totals[region]) for region, counts in regions.items()}
    # Its first digit is the answer, whose levels table 1 shows too.
    of_answer = {region: counts for region, counts in regions.items() if region.startswith("1")}
    rounded |= _round_answer(of_answer, suppress, totals)
    found: dict[str, Demographics] = {}
    definition = cohort.definition
    for step in (*definition.steps, definition.answer):
        if step.name not in names:
            continue
        place = names.index(step.name)
        inside = [region for region in regions if region[place] == "1"]
        levels = _add_up([rounded[region] for region in inside], suppress)
        age = _summarize([row for row in rows if row["region"][place] == "1"], levels["age_group"], suppress)
        here = Demographics(step.name, step.after, sum(totals[region] for region in inside), levels, age, {})
        found[step.name] = here
        if before := found.get(step.after):
            here.smd.update(_compare(before, here, suppress))
    return list(found.values())


def _count_regions(rows: Sequence[Mapping[str, Any]]) -> dict[str, _Counts]:
    """Count the levels of each characteristic in each region; a centre has its most frequent spelling."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row["centre"] is not None:
            spellings[row["centre"]][row["centre_name"]] += row["n"]
    names = {centre: min(found.items(), key=lambda item: (-item[1], item[0]))[0] for centre, found in spellings.items()}
    regions: dict[str, _Counts] = defaultdict(lambda: {name: Counter() for name in FOLLOWED})
    for row in rows:
        decade = row["decade"]
        values = {
            "age_group": None if decade is None else f"{decade} to {decade + statistics.BAND - 1}",
            "sex": SEXES.get(row["sex"], row["sex"]),
            "ethnicity": row["ethnicity"],
            "centre": names.get(row["centre"]),
        }
        for name, value in values.items():
            regions[row["region"]][name][value or NO_VALUE] += row["n"]
    return regions


def _round_levels(counts: _Counts, base: int, total: int) -> _Counts:
    rounded = {}
    for name, cells in counts.items():
        levels = list_levels(cells)
        shares = round_parts_in_turn([cells[level] for level in levels], base, total)
        rounded[name] = Counter(dict(zip(levels, shares, strict=True)))
    return rounded


def _round_answer(regions: Mapping[str, _Counts], base: int, totals: Mapping[str, int]) -> dict[str, _Counts]:
    """Round the levels of the regions of the answer, so that they add up to the answer's levels as table 1 has them."""
    rounded: dict[str, _Counts] = {region: {} for region in regions}
    places = sorted(regions, reverse=True)
    for name in FOLLOWED:
        whole: Counter[str] = Counter()
        for counts in regions.values():
            whole.update(counts[name])
        of_levels = round_levels(whole, base)
        levels = [*of_levels]
        cells = round_apart(
            [[regions[region][name][level] for region in places] for level in levels],
            [*of_levels.values()],
            [totals[region] for region in places],
            base,
            row_apart=is_last_missing(levels),
            column_apart=False,
        )
        for place, region in enumerate(places):
            rounded[region][name] = Counter({level: row[place] for level, row in zip(levels, cells, strict=True)})
    return rounded


def _add_up(regions: Sequence[_Counts], base: int) -> dict[str, dict[str, int]]:
    found = {}
    for name in FOLLOWED:
        total: Counter[str] = Counter()
        for counts in regions:
            total.update(counts[name])
        found[name] = {level: total[level] for level in sorted(total, key=order_levels) if total[level] or base < 2}
    return found


def _summarize(rows: Sequence[Mapping[str, Any]], bands: Mapping[str, int], suppress: int) -> Summary | None:
    """Mean and standard deviation of the ages: of the rounded decades, or where counts are exact of the ages."""
    known = {int(level.partition(" ")[0]): n for level, n in bands.items() if level != NO_VALUE}
    n = sum(known.values())
    if suppress > 1:
        return statistics.summarize_bands(known) if n >= FEWEST else None
    if not n:
        return None
    mean = sum(row["age_sum"] or 0 for row in rows) / n
    squares = sum(row["age_squares"] or 0 for row in rows) - n * mean * mean
    return Summary(n, mean, math.sqrt(max(0.0, squares) / (n - 1)) if n > 1 else None, None, None, None)


def _compare(before: Demographics, here: Demographics, suppress: int) -> dict[str, float | None]:
    """The standardised differences of a step from the one before."""
    few = suppress > 1 and min(before.patients, here.patients) < FEWEST
    found: dict[str, float | None] = {"age": statistics.compare_means(before.age, here.age)}
    for name in FOLLOWED:
        old, new = before.levels[name], here.levels[name]
        levels = list(dict.fromkeys([*old, *new]))
        counts = [[side.get(level, 0) for level in levels] for side in (old, new)]
        found[name] = None if few else statistics.compare_shares(counts[0], counts[1])
    return found


def to_table(steps: Sequence[Demographics]) -> pa.Table:
    """Tabulate as Arrow: a row for each step, characteristic and level; ages have no level."""
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    for step in steps:
        place = {"step": step.step, "after": step.after or None}
        age = {"mean": step.age.mean, "sd": step.age.sd, "patients": step.age.n} if step.age else {}
        rows.append({**place, "characteristic": "age", "smd": step.smd.get("age"), **age})
        for name, levels in step.levels.items():
            for level, n in levels.items():
                percent = 100 * n / step.patients if step.patients else None
                counted = {"level": level, "patients": n, "percent": percent, "smd": step.smd.get(name)}
                rows.append({**place, "characteristic": name, **counted})
    texts = dict.fromkeys(("step", "after", "characteristic", "level"), pa.string())
    numbers = dict.fromkeys(("percent", "mean", "sd", "smd"), pa.float64())
    schema = pa.schema(list({**texts, "patients": pa.int64(), **numbers}.items()))
    return pa.Table.from_pylist([{**dict.fromkeys(schema.names), **row} for row in rows], schema)


def find_title(name: str) -> str:
    """The title of a characteristic."""
    return TITLES.get(name, "Age, years")
