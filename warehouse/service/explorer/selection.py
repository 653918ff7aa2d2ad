"""What is chosen on a page: values of facets, kept in the address; and whether counts are exact."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from warehouse.errors import UsageError
from warehouse.service.explorer.facets import FACETS, MISSING

#: Values that an address may choose, and the characters of one.
_MOST_VALUES, _LONGEST_VALUE = 200, 200
_MONTHS = re.compile(r"(\d{4}-\d{2})?\.\.(\d{4}-\d{2})?")
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Selection:
    """The values chosen of each facet (none: all), and the range of months, in which "" is open.

    `is_single`: one value of a facet gives way to the next that is chosen.
    """

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    months: tuple[str, str] | None = None
    is_exact: bool = False
    is_single: bool = False

    def toggle(self, facet: str, value: str) -> Selection:
        """The selection with a value added, or removed if it was chosen."""
        if facet == "month" and value != MISSING:
            return self.between(value, value) if self.months != (value, value) else self.without("month")
        kept = {name: values for name, values in self.values.items() if name != facet}
        chosen = self.values.get(facet, ())
        kept_values = () if self.is_single else chosen
        now = tuple(each for each in chosen if each != value) if value in chosen else (*kept_values, value)
        months = None if facet == "month" else self.months
        return replace(self, values={**kept, facet: now} if now else kept, months=months)

    def between(self, first: str, last: str) -> Selection:
        """The selection of these months alone; "" is open."""
        cleared = self.without("month")
        return replace(cleared, months=(first, last)) if first or last else cleared

    def without(self, facet: str) -> Selection:
        """The selection with all values of a facet."""
        kept = {name: values for name, values in self.values.items() if name != facet}
        return replace(self, values=kept, months=None if facet == "month" else self.months)

    def chosen(self, facet: str, levels: Iterable[str]) -> frozenset[str]:
        """The values of a facet that are chosen; of months, those that lie in the range."""
        if facet == "month" and self.months:
            first, last = self.months
            return frozenset(
                month for month in levels if month != MISSING and (first or month) <= month <= (last or month)
            )
        return frozenset(self.values.get(facet, ()))

    @property
    def has_unions(self) -> bool:
        """Whether several values of a facet are chosen, or several months."""
        is_range = self.months is not None and self.months[0] != self.months[1]
        return is_range or any(len(values) > 1 for values in self.values.values())

    @property
    def active(self) -> tuple[str, ...]:
        """The facets of which values are chosen, in the order of the page."""
        return tuple(name for name in FACETS if self.values.get(name) or (name == "month" and self.months))

    def to_query(self, **more: str) -> str:
        """The selection as the query of an address, with its question mark; the same selection has the same query."""
        found = [*self.pairs(), *((name, value) for name, value in more.items() if value)]
        return f"?{urlencode(found)}" if found else ""

    def pairs(self) -> list[tuple[str, str]]:
        """The names and values of that query."""
        found = [(name, value) for name in FACETS for value in sorted(self.values.get(name, ()))]
        if self.months:
            found.append(("month", "..".join(self.months)))
        return [*found, ("exact", "1")] if self.is_exact else found


def parse_selection(query: Iterable[tuple[str, str]]) -> Selection:
    """The selection of an address; UsageError for a value that no facet can have. Other names are ignored."""
    values: dict[str, tuple[str, ...]] = {}
    months: tuple[str, str] | None = None
    is_exact, n_values = False, 0
    for name, value in query:
        if name == "exact":
            is_exact = value == "1"
        if name not in FACETS or not value:
            continue
        n_values += 1
        if n_values > _MOST_VALUES or len(value) > _LONGEST_VALUE or not value.isprintable():
            raise UsageError(f"The address chooses too much, or what cannot be a {FACETS[name].title.lower()}.")
        if name == "month" and value != MISSING:
            months = _parse_months(value)
        else:
            values[name] = tuple(dict.fromkeys((*values.get(name, ()), value)))
    return Selection(values, None if "month" in values else months, is_exact)


def describe_months(months: tuple[str, str]) -> str:
    """A range of months in words."""
    first, last = months
    if first == last:
        return first
    return f"{first} to {last}" if first and last else f"from {first}" if first else f"until {last}"


def _parse_months(text: str) -> tuple[str, str] | None:
    found = _MONTHS.fullmatch(text if ".." in text else f"{text}..{text}")
    first, last = (found[1] or "", found[2] or "") if found else ("", "")
    if not found or not all(_MONTH.fullmatch(month) for month in (first, last) if month):
        raise UsageError(f"Months are a range such as 2020-03..2020-06, not {text!r}.")
    return (first, last) if first or last else None
