"""Parses the query of a search (PS3.18 8.3.4, 10.6.1): what is matched, what is returned, and which page of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cache

from warehouse.errors import UsageError
from warehouse.service.dicomweb import attributes
from warehouse.service.dicomweb.attributes import Attribute, Level

FUZZY = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
MULTIPLE = "The multiplevaluematching parameter is not supported. Multiple Value Matching has not been performed."
EMPTY = "The emptyvaluematching parameter is not supported. Empty Value Matching has not been performed."

#: Parameters that are no attributes: how to search, and what the gate has read already.
_SWITCHES = {"fuzzymatching": FUZZY, "multiplevaluematching": MULTIPLE, "emptyvaluematching": EMPTY}


@dataclass(slots=True)
class SearchQuery:
    """A parsed query. `matches` has the text to match of each attribute; `included` are further attributes to return,
    `from_headers` those that only headers have, by tag; `warnings` go into the header of the response."""

    level: Level
    matches: dict[Attribute, str] = field(default_factory=dict)
    included: list[Attribute] = field(default_factory=list)
    from_headers: list[str] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def returned(self) -> tuple[Attribute, ...]:
        """The attributes of a result: those that the standard requires of the level, then those that were included."""
        return tuple(dict.fromkeys([*_list_required(self.level), *self.matches, *self.included]))

    @property
    def asked(self) -> Hashable:
        """All that its results depend on, but for the page."""
        return self.level, (*self.matches.items(),), (*self.included,), (*self.from_headers,)


@cache
def _list_required(level: Level) -> tuple[Attribute, ...]:
    known = attributes.map_attributes()
    return tuple(known[name] for name in attributes.REQUIRED[level])


def parse_search(level: Level, pairs: Iterable[tuple[str, str]]) -> SearchQuery:
    """Parse the parameters of a query; UsageError for one that is not valid.

    An attribute that a search of this level cannot match is an error, not ignored: a worklist that is longer than what
    was asked for is mistaken for the answer.
    """
    found = SearchQuery(level)
    for name, value in pairs:
        if name in ("limit", "offset"):
            setattr(found, name, _parse_count(name, value))
        elif name == "includefield":
            for field_name in value.split(","):
                _include(found, field_name.strip())
        elif name in _SWITCHES:
            if value not in ("true", "false"):
                raise UsageError(f"{name} is true or false.")
            if value == "true":
                found.warnings.append(_SWITCHES[name])
        elif name != "accept":
            _match(found, name, value)
    return found


def _parse_count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise UsageError(f"{name} is a whole number from 0 on.")
    return int(value)


def _match(found: SearchQuery, name: str, value: str) -> None:
    attribute = _require(found.level, name)
    if "\0" in value:
        raise UsageError(f"The value of {attribute.keyword} has a NUL byte.")
    if attribute in found.matches:
        if attribute.vr != "UI":
            raise UsageError(f"{attribute.keyword} is given twice.")
        value = ",".join(filter(None, (found.matches[attribute], value)))
    if attribute.type == "JSON" and value:
        raise UsageError(f"{attribute.keyword} is a sequence: match one of its items, or leave it empty.")
    found.matches[attribute] = value


def _require(level: Level, name: str) -> Attribute:
    keyword = attributes.find_keyword(name)
    if not keyword:
        raise UsageError(f"DICOM knows no attribute {_shorten(name)!r}. Give a keyword or a tag of eight hex digits.")
    attribute = attributes.map_attributes().get(keyword)
    inside = "." in name
    if attribute is None or attributes.is_item_of_requests(keyword) != inside:
        raise UsageError(f"{keyword} cannot be searched. docs/viewers.md lists what can be.")
    if not attributes.is_shown_by(attribute, level):
        raise UsageError(f"{keyword} belongs to each {attribute.level}: search {_PLURALS[attribute.level]} by it.")
    return attribute


_PLURALS = {"series": "series", "instance": "instances"}


def _include(found: SearchQuery, name: str) -> None:
    """Note an attribute to return (PS3.18 8.3.4.3); one that the lake does not have is left out."""
    known = attributes.map_attributes()
    if name == "all":
        found.included += [
            attribute
            for attribute in known.values()
            if attributes.is_shown_by(attribute, found.level) and not attributes.is_item_of_requests(attribute.keyword)
        ]
        return
    keyword = attributes.find_keyword(name)
    if not keyword and not _is_tag(name):
        raise UsageError(f"DICOM knows no attribute {_shorten(name)!r} to include.")
    attribute = known.get(keyword)
    if attribute and attributes.is_shown_by(attribute, found.level):
        if not attributes.is_item_of_requests(keyword):
            found.included.append(attribute)
    else:
        found.from_headers.append(attributes.find_tag(keyword) if keyword else name.upper())


def _is_tag(name: str) -> bool:
    return len(name) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in name)


def _shorten(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:64]}…"
