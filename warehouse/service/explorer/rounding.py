"""Rounds the counts of a page together (warehouse/disclosure_control.py), so that they disclose no small number.

All facets count the same patients, so a number that several share is shown in one way: the total, rounded down; the
values that are chosen, which add up to the total; and missing values. The values of a partition add up to their total.
Of other facets a patient may have several values, so that theirs add up to more, but no value is shown with more
patients than there are. Values are rounded by the sums up to each, as table 1 rounds levels, and in its order: by the
largest remainders they could be intersected with it. Values that are rounded to 0 are left out, because their names
would disclose that somebody has them; unless they were chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from warehouse.cohorts.levels import order_levels, round_parts_in_turn
from warehouse.disclosure_control import round_count
from warehouse.service.explorer.facets import MISSING, Facet


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet as a page shows it."""

    value: str
    label: str
    count: int
    is_chosen: bool


def round_facet(
    facet: Facet,
    counts: Mapping[str, int],
    chosen: Collection[str],
    total: int,
    whole: int,
    base: int,
) -> list[Value]:
    """The values of a facet with rounded counts, in the order of the page.

    `counts` and `whole` are of all but this facet's own choice, `total` of all that is chosen; a base of 0 rounds
    nothing.
    """
    given = {**dict.fromkeys(chosen, 0), **counts}
    mine = {value: n for value, n in given.items() if value in chosen}
    rest = {value: n for value, n in given.items() if value not in chosen}
    shown_total, shown_whole = round_count(total, base), round_count(whole, base)
    if base < 2:
        shown = given
    elif facet.is_partition:
        names = [*_sort(facet, mine), *_sort(facet, rest)]
        shown = dict(zip(names, round_parts_in_turn([given[name] for name in names], base), strict=True))
    else:
        most_mine = shown_total if mine else 0
        shown = {**_round_overlapping(mine, base, most_mine), **_round_overlapping(rest, base, shown_whole)}
        if len(mine) == 1:
            shown |= dict.fromkeys(mine, shown_total)
    kept = [value for value in given if shown[value] or value in chosen]
    return [
        Value(value, facet.label(value), shown[value], value in chosen)
        for value in sorted(kept, key=lambda value: _place(facet, value, shown[value], value in chosen))
    ]


def _sort(facet: Facet, values: Iterable[str]) -> list[str]:
    """The values in the order of table 1, missing ones last: sums up to a value are then the same on both."""
    return sorted(values, key=lambda value: (value == MISSING, _find(facet, value), order_levels(facet.label(value))))


def _round_overlapping(counts: Mapping[str, int], base: int, most: int) -> dict[str, int]:
    """Round counts of which a patient may have several; none is more than `most`."""
    names = sorted((value for value in counts if value != MISSING), key=order_levels)
    rounded = dict(zip(names, round_parts_in_turn([counts[name] for name in names], base), strict=True))
    if MISSING in counts:
        rounded[MISSING] = round_count(counts[MISSING], base)
    return {name: min(n, most) for name, n in rounded.items()}


def _find(facet: Facet, value: str) -> int:
    return facet.order.index(value) if value in facet.order else len(facet.order)


def _place(facet: Facet, value: str, shown: int, is_chosen: bool) -> tuple[object, ...]:
    """The place of a value: the facet's own order or that of time, else the chosen and then the most first; missing
    ones last."""
    if facet.order or facet.name == "month":
        return (value == MISSING, _find(facet, value), value)
    return (not is_chosen, value == MISSING, -shown, facet.label(value).casefold())
