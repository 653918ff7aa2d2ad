"""Hides the small numbers of the quality report, and all on the page that would tell them: figures in, figures out.

A count from 1 to least - 1 is hidden. Counts that add up on the page (patients, studies, the values of a rule) go
through `suppress.table`, so that no hidden one can be subtracted. What else is said of a centre is said in steps, and
where its patients are hidden only if it would be said with one patient more or less as well. Lists are ordered anew,
by what is shown of them: a place in an order tells a number too.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from warehouse.cohorts.suppress import Table, is_small, table
from warehouse.quality.figures import STATUSES, Checked, Figures, Filled, Repairs, Rule, Totals, largest_first, percent

#: Shares are told in steps of so many per cent.
_PERCENT = 5
#: The month of studies without a date, whose number stands by itself on the page; of other months none does.
_UNDATED = str(None)
#: Views with one row for each patient: a check of theirs counts patients.
_OF_PATIENTS = ("patients", "clinical")
#: The check that counts what is a tile too.
_WITHOUT_RECORD = "images_without_clinical"


def suppressed(figures: Figures, least: int) -> Figures:
    """The same with small counts hidden, and what would tell them; `least` 0 or 1 hides nothing.

    Rejects and the inventory stay as they are: they count files, and have to balance.
    """
    if least < 2:
        return figures
    months = [*dict.fromkeys(str(count.month) for count in figures.studies)]
    studies = table(
        months,
        [*figures.modalities],
        {(str(count.month), count.modality): count.n_studies or 0 for count in figures.studies},
        least,
        unshown=[month for month in months if month != _UNDATED],
    )
    patients = table(
        [*figures.centres],
        STATUSES,
        {(count.centre, count.status): count.n_patients or 0 for count in figures.patients},
        least,
    )
    about = {name for name in patients.rows if _hides(patients, name)}
    repairs, rules = _repairs(figures, least, about)
    totals = _totals(figures.totals, studies, patients, least)
    by_month = [replace(count, n_studies=studies.cells[str(count.month), count.modality]) for count in figures.studies]
    by_centre = [replace(count, n_patients=patients.cells[count.centre, count.status]) for count in figures.patients]
    return replace(
        figures,
        totals=totals,
        studies=by_month,
        modalities=studies.column_totals,
        patients=sorted(by_centre, key=lambda count: largest_first(count.centre, patients.row_totals[count.centre])),
        centres=patients.row_totals,
        completeness=[_filled(cell, least, about) for cell in figures.completeness],
        repairs=repairs,
        rules=rules,
        checks=[_checked(checked, figures.totals, totals, rules, least) for checked in figures.checks],
        least=least,
    )


def _hides(patients: Table, centre: str) -> bool:
    return None in (patients.row_totals[centre], *(patients.cells[centre, status] for status in patients.columns))


def _tells(part: int, wholes: Sequence[int], least: int) -> bool:
    """Whether a number of patients is small, or leaves a small one of patients of whom it is a part."""
    return is_small(part, least) or any(is_small(whole - part, least) for whole in wholes)


def _wholes(totals: Totals) -> list[int]:
    """What a number of patients with a record may be a part of."""
    positive, negative = totals.n_positive or 0, totals.n_negative or 0
    return [totals.n_patients or 0, positive + negative, positive, negative]


def _totals(totals: Totals, studies: Table, patients: Table, least: int) -> Totals:
    def own(count: int | None) -> int | None:
        return None if is_small(count or 0, least) else count

    is_undated_hidden = studies.row_totals.get(_UNDATED, 0) is None
    return replace(
        totals,
        n_patients=patients.total,
        n_positive=patients.column_totals["positive"],
        n_negative=patients.column_totals["negative"],
        n_without_record=patients.column_totals["none"],
        # A study of two modalities is one here and two in the table; else they are one number.
        n_studies=None if studies.total is None else own(totals.n_studies),
        n_undated_studies=None if is_undated_hidden else own(totals.n_undated_studies),
        n_series=own(totals.n_series),
        n_images=own(totals.n_images),
        n_clinical_files=own(totals.n_clinical_files),
    )


def _filled(cell: Filled, least: int, about: set[str]) -> Filled:
    """A share in steps, without what it is of: a number of a centre's patients, which may be hidden."""
    n_filled, n_records = cell.n_filled or 0, cell.n_records or 0
    told: int | None = percent(n_filled, n_records, _PERCENT)
    near = (n_records - 1, n_records + 1) if cell.centre in about else ()
    if any(told not in _shares(n, least) for n in (n_records, *near)) or _tells(n_filled, [n_records], least):
        told = None
    return replace(cell, percent=told, n_filled=None, n_records=None)


@cache
def _shares(n_records: int, least: int) -> frozenset[int]:
    """The shares that may be shown of so many records."""
    if n_records < least:
        return frozenset()
    return frozenset(percent(n, n_records, _PERCENT) for n in (0, n_records, *range(least, n_records - least + 1)))


def _repairs(figures: Figures, least: int, about: set[str]) -> tuple[list[Repairs], list[Rule]]:
    """Of the repairs of a centre the step alone, and the rules with their numbers, where neither tells a small one."""
    cells: dict[tuple[str, str], Repairs] = {}
    rules = []
    for rule in figures.rules:
        counts = [count for count in figures.repairs if count.rule == rule.rule]
        hidden, is_told = _hidden_repairs(counts, least, about)
        for count in counts:
            step = None if count.centre in hidden else count.step
            cells[count.centre, count.rule] = replace(count, step=step, n_values=None, n_patients=None, n_files=None)
        rules.append(_rule(rule, figures.totals, is_told, least))
    return (
        [cells[count.centre, count.rule] for count in figures.repairs],
        sorted(rules, key=lambda rule: (rule.n_values is None, -(rule.n_values or 0), rule.rule)),
    )


def _hidden_repairs(counts: Sequence[Repairs], least: int, about: set[str]) -> tuple[set[str], bool]:
    """The centres whose repairs by one rule are to be hidden, and whether the numbers of all centres may be told."""
    names, column = [count.centre for count in counts], "all"
    hidden = {count.centre for count in counts if (count.n_patients or 0) < least + (count.centre in about)}
    is_told = True
    for numbers in ([count.n_values or 0 for count in counts], [count.n_patients or 0 for count in counts]):
        cells = {(name, column): n for name, n in zip(names, numbers, strict=True)}
        found = table(names, [column], cells, least, also=[(name, column) for name in hidden], unshown=names)
        hidden = {name for name in names if found.cells[name, column] is None}
        is_told = is_told and None not in (found.total, found.column_totals[column])
    return hidden, is_told


def _rule(rule: Rule, totals: Totals, is_told: bool, least: int) -> Rule:
    n_patients, n_centres = rule.n_patients or 0, rule.n_centres or 0
    is_told = is_told and not is_small(n_patients, least)
    return replace(
        rule,
        n_values=rule.n_values if is_told else None,
        n_patients=n_patients if is_told and not _tells(n_patients, _wholes(totals), least) else None,
        n_centres=None if is_small(n_centres, least) else n_centres,
    )


def _checked(checked: Checked, true: Totals, shown: Totals, rules: list[Rule], least: int) -> Checked:
    """A check without its number where that is small, leaves a small one, or is a number that is hidden elsewhere."""
    n_rows = checked.n_rows or 0
    elsewhere = {rule.rule: rule.n_values for rule in rules} | {_WITHOUT_RECORD: shown.n_without_record}
    if n_rows and elsewhere.get(checked.check.name, n_rows) is None:
        return replace(checked, n_rows=None)
    if is_small(n_rows, least):
        return replace(checked, n_rows=None, is_small=least > 2)  # from 1 to 1 would be said plainly
    if n_rows and checked.check.table in _OF_PATIENTS and _tells(n_rows, _wholes(true), least):
        return replace(checked, n_rows=None)
    return checked
