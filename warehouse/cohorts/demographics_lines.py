"""The demographics of a cohort's steps as lines of a table: a column for each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from warehouse.cohorts.demographics import FOLLOWED, Demographics, find_title
from warehouse.cohorts.group_statistics import FEWEST
from warehouse.cohorts.levels import NO_VALUE, order_levels
from warehouse.cohorts.table1_lines import Stub


def list_heads(steps: Sequence[Demographics]) -> list[str]:
    """The names of the steps."""
    return ["Answer" if step.step == "answer" else step.step for step in steps]


def list_stubs(steps: Sequence[Demographics], suppress: int) -> list[Stub]:
    """Patients, ages, then each characteristic with its levels; each ends with the differences, if there are any."""

    def add(text: str, is_level: bool, show: Callable[[Demographics], str]) -> None:
        found.append(Stub(text, is_level, tuple(show(step) for step in steps)))

    def add_differences(name: str) -> None:
        if any(step.smd for step in steps):
            add("SMD from the previous step", True, lambda step: format_difference(step, name))

    found: list[Stub] = []
    add("Patients, n", False, lambda step: f"{step.patients:,}")
    add("Age, years, mean (SD)", False, lambda step: format_age(step, suppress))
    add_differences("age")
    for name in FOLLOWED:
        add(find_title(name), False, lambda _: "")
        for level in sorted({level for step in steps for level in step.levels[name]}, key=order_levels):
            add(level, True, lambda step, name=name, level=level: _format_share(step, name, level))  # type: ignore[misc]
        add_differences(name)
    return found


def format_age(step: Demographics, suppress: int) -> str:
    """Mean and standard deviation, in whole years where counts are rounded."""
    digits = 0 if suppress > 1 else 1
    if step.age is None or step.age.mean is None:
        return f"n < {FEWEST}" if suppress > 1 else "–"
    spread = "–" if step.age.sd is None else f"{step.age.sd:.{digits}f}"
    return f"{step.age.mean:.{digits}f} ({spread})"


def format_difference(step: Demographics, name: str) -> str:
    """The standardised difference of a step from the one before, "" for the first."""
    if name not in step.smd:
        return ""
    value = step.smd[name]
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"


def _format_share(step: Demographics, name: str, level: str) -> str:
    n = step.levels[name].get(level, 0)
    return f"{n:,} ({100 * n / step.patients:.1f})" if step.patients else "–"


def list_notes(suppress: int) -> list[str]:
    """What a reader has to know."""
    notes = [f"Each patient counts once; {NO_VALUE} is a level. SMD: standardised difference from the previous step."]
    if suppress > 1:
        notes.append(
            f"Counts are rounded to multiples of {suppress:,}, all steps together; ages are computed from rounded "
            "counts by decade, percentages and SMD from rounded counts. Levels that round to 0 are left out."
        )
    return notes
