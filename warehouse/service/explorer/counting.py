"""Counts a page: every facet, rounded together, and checked against what the caller was shown before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.disclosure_control import round_count
from warehouse.service.differencing import Memory
from warehouse.service.explorer.facets import FACETS, Facet
from warehouse.service.explorer.rounding import Value, round_facet
from warehouse.service.explorer.selection import Selection
from warehouse.service.tokens import Caller, Rights

if TYPE_CHECKING:
    from warehouse.service.explorer.table import FacetTable

#: The name under which the patients of a page are remembered: as the answers of cohorts, so that both are compared.
_COUNTED = ""
#: The name of the same patients with all that facets count of them: on another day one record may have changed.
_DESCRIBED = "explorer"


@dataclass(frozen=True, slots=True)
class Shown:
    """A facet as a page shows it; `is_held_back` if only what is chosen is shown of it."""

    facet: Facet
    values: list[Value]
    is_held_back: bool = False

    @property
    def most(self) -> int:
        """The largest count, for the length of bars."""
        return max((value.count for value in self.values), default=0)


@dataclass(frozen=True, slots=True)
class Page:
    """The counts of a page. Studies and images only where counts are exact, because they could be divided."""

    patients: int
    facets: dict[str, Shown]
    studies: int | None = None
    images: int | None = None


def count_page(table: FacetTable, selection: Selection, base: int, caller: Caller, memory: Memory) -> Page:
    """Count all facets of a choice; DifferenceError if it differs from an earlier one by too few patients."""
    rows = table.find_rows(selection)
    members = table.find_members(rows)
    total, counted = int(members.sum()), table.count(selection)
    is_watched = caller.rights == Rights.counts and base > 1
    if is_watched:
        counted_sets = {_COUNTED: table.digest(members), _DESCRIBED: table.described[members]}
        memory.admit(caller.remembered_as, counted_sets, base)
    facets = {}
    for name, facet in FACETS.items():
        chosen = selection.chosen(name, table.levels[name])
        found = counted[name]
        counts, whole, is_held_back = found.patients, found.whole, False
        if is_watched and name in selection.active:
            # The others of a facet would add their whole to what is shown; one that was shown before adds nothing.
            is_held_back = not memory.recalls(caller.remembered_as, _COUNTED, table.digest(found.members))
        if is_held_back:
            counts, whole = {value: n for value, n in counts.items() if value in chosen}, total
        values = round_facet(facet, counts, chosen, total, whole, base) if round_count(whole, base) else []
        facets[name] = Shown(facet, values, is_held_back)
    studies, images = table.count_objects(rows) if base < 2 else (None, None)
    return Page(round_count(total, base), facets, studies, images)
