"""Rounds the figures of the quality report (disclosure_control.py) to protect individuals.

Where a number is not of patients, each of whom may have equally many of what is counted, it could be divided. So months
and modalities count the patients with a study, and rules and checks the patients concerned; studies, series, images and
files are only counted as a whole, to a unit that is more than the base's number of patients have together.

Of months and modalities the patients by all their modalities are rounded, as in table 1, and a modality has the sum of
these: rounded by themselves, its patients and those of table 1 together left a single number of some.

Patients and months are tables whose cells add up to rounded totals. A number of patients who are a subset of others is
never greater than the number shown for those. Centres, months and shares rounded to 0 are omitted. Lists are sorted
again by the rounded numbers, because a position in an order discloses a number too. Of fewer patients than the base
nothing is shown at all: what is found would be known of a handful.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby

from warehouse.cohorts.levels import NO_VALUE, order_levels, round_parts_in_turn
from warehouse.disclosure_control import (
    Table,
    find_unit,
    make_table,
    round_apart,
    round_count,
    round_parts,
    round_table,
)
from warehouse.quality_report.model import (
    NO_MODALITY,
    NO_RECORD,
    NOT_NAMED,
    STATUSES,
    Checked,
    Figures,
    Filled,
    Imaged,
    Repairs,
    Rule,
    Totals,
    find_rate,
    order_by_size,
    to_percent,
)

#: The month of studies without a date.
_UNDATED = str(None)
#: The check whose count is also shown as a tile.
_WITHOUT_RECORD = "images_without_clinical"


def suppress_counts(figures: Figures, base: int) -> Figures:
    """Round all counts to multiples of `base`; 0 or 1 changes nothing.

    Rejects stay exact: they count files of unknown content. The inventory balances.
    """
    if base < 2:
        return figures
    true = {(count.centre, count.status): count.n_patients for count in figures.patients}
    patients = _round_centres(true, base)
    studies, n_undated = _round_studies(figures.imaged, patients.total, base)
    totals = _round_totals(figures.totals, n_undated, patients, base)
    wholes = _list_wholes(figures.totals, totals)
    repairs, rules = _round_repairs(figures, patients, wholes, base) if patients.total else ([], [])
    by_month = [
        replace(count, n_studies=n) for count in figures.studies if (n := studies.get((count.month, count.modality)))
    ]
    modalities = Counter[str]()
    for count in by_month:
        modalities[count.modality] += count.n_studies
    by_centre = [
        replace(count, n_patients=n)
        for count in figures.patients
        if (n := patients.cells.get((count.centre, count.status)))
    ]
    return replace(
        figures,
        totals=totals,
        studies=by_month,
        imaged=[],
        modalities=dict(modalities),
        patients=sorted(by_centre, key=lambda count: order_by_size(count.centre, patients.row_totals[count.centre])),
        centres=patients.row_totals,
        completeness=_round_completeness(figures.completeness, true, patients, base),
        repairs=repairs,
        rules=rules,
        checks=[_round_checked(checked, figures.totals, totals, wholes, base) for checked in figures.checks]
        if patients.total
        else [],
        base=base,
        unit=find_unit(figures.totals.most_objects, base),
    )


def _round_studies(
    imaged: Sequence[Imaged], n_patients: int, base: int
) -> tuple[dict[tuple[date | None, str], int], int]:
    """Round the patients of each month and modality, and those without a StudyDate, to at most all that are shown.

    Sets of modalities are rounded by the sums up to each, in the order of table 1: where each patient has studies in
    one month, both show each number in one way.
    """
    months = [*dict.fromkeys(str(count.month) for count in imaged)]
    sets = [str(modalities) for modalities in sorted({count.modalities for count in imaged}, key=_order_sets)]
    true = {(str(count.month), str(count.modalities)): count.n_patients for count in imaged}
    table = round_table(months, sets, true, base, nested_rows=len(months), nested_columns=len(sets))
    shown = Counter[tuple[date | None, str]]()
    for count in imaged:
        for modality in count.modalities:
            shown[count.month, modality] += table.cells.get((str(count.month), str(count.modalities)), 0)
    undated = table.row_totals.get(_UNDATED, 0)
    return {place: min(n, n_patients) for place, n in shown.items()}, min(undated, n_patients)


def _order_sets(modalities: tuple[str, ...]) -> tuple[object, ...]:
    """The key that sorts sets as table 1 sorts them, which ignores images without a modality if there are others."""
    known = " + ".join(modality for modality in modalities if modality != NO_MODALITY)
    return *order_levels(known or NO_VALUE), NO_MODALITY in modalities


def _round_centres(true: Mapping[tuple[str, str], int], base: int) -> Table:
    """Round the patients of each centre and status.

    Positive patients, those with a record, and all are rounded down, as in Dagster, which counts the rows of views.
    Centres are rounded by name, and those without one together, as in table 1 of a cohort of all patients.
    """
    named = sorted({centre for centre, _ in true} - {NOT_NAMED, NO_RECORD}, key=order_levels)
    merged = {place: n for place, n in true.items() if place[0] in named}
    for status in STATUSES:
        merged["", status] = sum(true.get((name, status), 0) for name in (NOT_NAMED, NO_RECORD))
    table = round_table(
        [*named, ""],
        STATUSES,
        merged,
        base,
        nested_rows=len(named) + 1,
        nested_columns=len(STATUSES),
        row_apart=True,
        column_apart=True,
    )
    shown = {(centre, status): n for (centre, status), n in table.cells.items() if centre}
    for status in STATUSES:
        parts = [true.get((name, status), 0) for name in (NOT_NAMED, NO_RECORD)]
        rounded = round_parts(parts, base, table.cells.get(("", status), 0), nested=1)
        shown |= {(NOT_NAMED, status): rounded[0], (NO_RECORD, status): rounded[1]}
    names = [*named, NOT_NAMED, NO_RECORD]
    return make_table(names, STATUSES, [[shown.get((name, status), 0) for status in STATUSES] for name in names], base)


def _round_totals(totals: Totals, n_undated: int, patients: Table, base: int) -> Totals:
    unit = find_unit(totals.most_objects, base)
    return replace(
        totals,
        n_patients=patients.total,
        n_positive=patients.column_totals.get("positive", 0),
        n_negative=patients.column_totals.get("negative", 0),
        n_without_record=patients.column_totals.get("none", 0),
        n_studies=round_count(totals.n_studies, unit),
        n_undated_studies=n_undated,
        n_series=round_count(totals.n_series, unit),
        n_images=round_count(totals.n_images, unit),
        n_clinical_files=round_count(totals.n_clinical_files, unit),
        inventory=_round_inventory(totals, unit),
        most_objects=0,
    )


def _round_inventory(totals: Totals, unit: int) -> dict[str, int]:
    """Round the objects of each kind as the tiles are rounded, so that no number is rounded in two ways; the total is
    their sum. Rejects stay exact: they count files of unknown content, and the page lists them."""
    true = totals.inventory
    shown = {kind: round_count(n, unit) for kind, n in true.items() if kind not in ("objects", "rejected")}
    return {"objects": sum(shown.values()) + true["rejected"], "rejected": true["rejected"], **shown}


def _list_wholes(true: Totals, shown: Totals) -> list[tuple[int, int]]:
    """The sets that a number of patients may be a subset of: their exact numbers, and the numbers shown."""
    return [
        (true.n_patients, shown.n_patients),
        (true.n_positive + true.n_negative, shown.n_positive + shown.n_negative),
        (true.n_positive, shown.n_positive),
        (true.n_negative, shown.n_negative),
    ]


def _round_part(count: int, wholes: Sequence[tuple[int, int]], base: int) -> int:
    """Round a number of patients, to at most the number shown for any set that it may be a subset of."""
    return min([round_count(count, base), *(shown for whole, shown in wholes if whole >= count)])


def _round_completeness(
    cells: Sequence[Filled], true: Mapping[tuple[str, str], int], patients: Table, base: int
) -> list[Filled]:
    return [
        shown
        for _, column in groupby(cells, key=lambda cell: cell.column)
        for shown in _round_column([*column], true, patients, base)
    ]


def _round_column(
    cells: Sequence[Filled], true: Mapping[tuple[str, str], int], patients: Table, base: int
) -> list[Filled]:
    """Round how many records of each centre have a value, so that those without are as many as in table 1 by centre.

    Rounded to the nearest share, they could be intersected with table 1. Centres with too few records are left out.
    """
    statuses = _find_statuses(cells, true)
    named = sorted({centre for centre, _ in true} - {NOT_NAMED, NO_RECORD}, key=order_levels)
    groups = [*((name,) for name in named), (NOT_NAMED, NO_RECORD)]

    def add_up(counts: Mapping[tuple[str, str], int], centres: tuple[str, ...]) -> int:
        return sum(counts.get((centre, status), 0) for centre in centres for status in statuses)

    filled = {cell.centre: cell.n_filled for cell in cells}
    have = [sum(filled.get(name, 0) for name in centres) for centres in groups]
    lack = [add_up(true, centres) - n for centres, n in zip(groups, have, strict=True)]
    shown = [add_up(patients.cells, centres) for centres in groups]
    of_rows = round_parts_in_turn([sum(have), sum(lack)], base, sum(shown))
    of_groups = round_apart([have, lack], of_rows, shown, base, row_apart=True, column_apart=True)[0]
    rounded = {name: n for centres, n in zip(groups, of_groups, strict=True) for name in centres}
    found = []
    for cell in cells:
        n_records = add_up(patients.cells, (cell.centre,))
        if n_records >= 2 * base:
            n = min(rounded[cell.centre], n_records)
            found.append(replace(cell, percent=to_percent(n, n_records), n_filled=n, n_records=n_records))
    return found


def _find_statuses(cells: Sequence[Filled], true: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """Whose records a column applies to: those of all patients, who may have none, or of positive or negative ones."""
    for statuses in (STATUSES, ("positive",), ("negative",)):
        if all(cell.n_records == sum(true.get((cell.centre, status), 0) for status in statuses) for cell in cells):
            return statuses
    return ()


def _round_repairs(
    figures: Figures, patients: Table, wholes: Sequence[tuple[int, int]], base: int
) -> tuple[list[Repairs], list[Rule]]:
    """Round the repairs of the centres that are shown, and the rules, all to numbers of patients."""
    cells: list[Repairs] = []
    rules = []
    for rule in figures.rules:
        counts = [count for count in figures.repairs if count.rule == rule.rule]
        shown = _round_centre_repairs(counts, patients, base)
        cells += shown
        n_patients = _round_part(rule.n_patients, wholes, base)
        rules.append(replace(rule, n_values=n_patients, n_patients=n_patients, n_centres=len(shown)))
    places = {(count.centre, count.rule): place for place, count in enumerate(figures.repairs)}
    return (
        sorted(cells, key=lambda count: places[count.centre, count.rule]),
        sorted(rules, key=lambda rule: (-rule.n_patients, rule.rule)),
    )


def _round_centre_repairs(counts: Sequence[Repairs], patients: Table, base: int) -> list[Repairs]:
    """Round the patients of each centre that met a rule, as a share of the centre's patients that are shown."""
    found = []
    of_patients = round_parts([count.n_patients for count in counts], base)
    for count, n in zip(counts, of_patients, strict=True):
        of_centre = patients.row_totals.get(count.centre, 0)
        if n_patients := min(n, of_centre):
            step = find_rate(n_patients, of_centre)
            found.append(replace(count, step=step, n_values=n_patients, n_patients=n_patients, n_files=of_centre))
    return found


def _round_checked(
    checked: Checked, true: Totals, totals: Totals, wholes: Sequence[tuple[int, int]], base: int
) -> Checked:
    """Round the patients of a check, to at most the number shown of any set that they may be a subset of."""
    if checked.n_patients is None:
        return replace(checked, n_rows=0)
    n = _round_part(checked.n_patients, wholes, base)
    if checked.check.name == _WITHOUT_RECORD:
        # One number is not rounded in two ways.
        of_all = checked.n_patients == true.n_without_record
        n = totals.n_without_record if of_all else min(n, totals.n_without_record)
    return replace(checked, n_rows=n, n_patients=n)
