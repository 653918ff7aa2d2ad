"""What of a request an agreement covers: groups, modalities, centres, fields, and the day; pure functions.

An agreement that lists nothing of a kind covers all of that kind; only groups must be listed. A request that names
nothing of a kind asks for all of it (`None`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Protocol

from warehouse.access.verdict import Answer, Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection

#: The word for all groups (warehouse/query/session.py).
ALL = "all"
_KINDS = ("group", "modality", "centre", "field")


class Terms(Protocol):
    """What coverage reads of an agreement (warehouse/access/agreements.py)."""

    @property
    def id(self) -> str: ...
    @property
    def groups(self) -> Collection[str]: ...
    @property
    def modalities(self) -> Collection[str]: ...
    @property
    def centres(self) -> Collection[str]: ...
    @property
    def fields(self) -> Collection[str]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: names of each kind, or None for all of it."""

    groups: frozenset[str] | None = None
    modalities: frozenset[str] | None = field(default=frozenset())
    centres: frozenset[str] | None = field(default=frozenset())
    fields: frozenset[str] | None = field(default=frozenset())

    @property
    def by_kind(self) -> dict[str, frozenset[str] | None]:
        """The names by kind; the group `all` is all groups."""
        groups = None if self.groups is None or ALL in self.groups else self.groups
        return dict(zip(_KINDS, (groups, self.modalities, self.centres, self.fields), strict=True))


def cover_request(terms: Terms, request: Request) -> Verdict:
    """Whether an agreement covers all that a request names: a finding for each name."""
    covered = dict(zip(_KINDS, (terms.groups, terms.modalities, terms.centres, terms.fields), strict=True))
    found: list[Finding] = []
    for kind, wanted in request.by_kind.items():
        found += _cover_kind(terms.id, kind, [*covered[kind]], wanted)
    return Verdict(tuple(found))


def _cover_kind(agreement: str, kind: str, covered: list[str], wanted: frozenset[str] | None) -> Iterable[Finding]:
    is_all = any(fold(name) == ALL for name in covered) or (not covered and kind != "group")
    listed = ", ".join(covered) or "none"
    if wanted is None:
        answer = Answer.YES if is_all else Answer.NO
        yield Finding(answer, kind, f"Agreement {agreement} covers {_name(kind, 2)} {listed}, not all.")
        return
    folded = {fold(name): name for name in covered}
    for name in sorted(wanted):
        if is_all or fold(name) in folded:
            yield Finding(Answer.YES, kind, f"Agreement {agreement} covers {kind} {name}.")
        elif kind == "centre" and (near := _find_similar(name, folded)):
            yield Finding(
                Answer.LOOK, kind, f"Whether centre {name} is the centre {near} of agreement {agreement} is not known."
            )
        else:
            yield Finding(
                Answer.NO,
                kind,
                f"Agreement {agreement} does not cover {kind} {name}; it covers {_name(kind, 2)} {listed}.",
            )


def _name(kind: str, number: int) -> str:
    return kind if number == 1 else {"modality": "modalities"}.get(kind, f"{kind}s")


def fold(name: str) -> str:
    """A name for comparison: case and white space do not count."""
    return " ".join(name.split()).casefold()


def _find_similar(name: str, folded: dict[str, str]) -> str:
    """A covered name that contains the words of this one, or the reverse: it may be the same centre."""
    words = set(fold(name).split())
    return next(
        (given for each, given in folded.items() if words <= set(each.split()) or words >= set(each.split())), ""
    )


@dataclass(frozen=True, slots=True)
class Cover:
    """What an agreement covers, as a session is narrowed to it: empty is all of a kind. Hashable, so that sessions can
    be kept by it."""

    agreement: str
    groups: tuple[str, ...]
    modalities: tuple[str, ...] = ()
    centres: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    last_day: date | None = None

    @classmethod
    def of(cls, terms: Terms, last_day: date | None = None) -> Cover:
        """What an agreement covers."""
        kinds = (terms.modalities, terms.centres, terms.fields)
        narrowed = (() if any(fold(name) == ALL for name in names) else tuple(sorted(names)) for names in kinds)
        return cls(terms.id, tuple(sorted(terms.groups)), *narrowed, last_day)

    @property
    def has_all_groups(self) -> bool:
        """Whether it covers every group."""
        return any(fold(name) == ALL for name in self.groups)

    @property
    def is_by_group(self) -> bool:
        """Whether groups alone limit it, so that prefixes of keys can express it."""
        return not (self.modalities or self.centres or self.fields)
