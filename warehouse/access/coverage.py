"""What of a request an agreement covers: groups, modalities, centres and fields; pure functions.

An agreement without a centre covers every centre; without a group, modality or field it covers none of them. `all` is
every one of a kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.access.verdict import Answer, Finding, Verdict

if TYPE_CHECKING:
    from warehouse.access.agreements import Agreement

#: The word for all of a kind; a group of that name is all groups (warehouse/query/session.py).
ALL = "all"
_PLURALS = {"group": "groups", "modality": "modalities", "centre": "centres", "field": "fields"}

#: Names of a kind; None for all there are.
Names = frozenset[str] | None
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, by kind: names, or None for all that there is."""

    groups: Names = None
    modalities: Names = _NOTHING
    centres: Names = _NOTHING
    fields: Names = _NOTHING


@dataclass(frozen=True, slots=True)
class Cover:
    """What an agreement covers, by kind; None is all. Hashable, so that sessions can be kept by it."""

    agreement: str
    groups: tuple[str, ...] | None
    modalities: tuple[str, ...] | None = None
    centres: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None

    @classmethod
    def of(cls, agreement: Agreement) -> Cover:
        """What an agreement covers."""
        return cls(
            agreement.id,
            _list(agreement.groups),
            _list(name.upper() for name in agreement.modalities),
            _list(agreement.centres) or None,
            _list(name.casefold() for name in agreement.fields),
        )

    @property
    def is_by_group(self) -> bool:
        """Whether groups alone limit it, so that prefixes of keys can express it."""
        return self.modalities is None and self.centres is None and self.fields is None


def _list(names: Iterable[str]) -> tuple[str, ...] | None:
    """The names without doubles, sorted; None if one of them is `all`."""
    found = {fold(name): " ".join(name.split()) for name in names}
    return None if ALL in found else tuple(found[name] for name in sorted(found))


def fold(name: str) -> str:
    """A name for comparison: case and white space do not count."""
    return " ".join(name.split()).casefold()


def cover_request(cover: Cover, request: Request) -> Verdict:
    """Whether an agreement covers all that a request names: a finding for each name."""
    groups = None if request.groups is None or ALL in request.groups else request.groups
    asked = (groups, request.modalities, request.centres, request.fields)
    covered = (cover.groups, cover.modalities, cover.centres, cover.fields)
    found: list[Finding] = []
    for kind, wanted, has in zip(_PLURALS, asked, covered, strict=True):
        found += _cover_kind(cover.agreement, kind, has, wanted)
    return Verdict(tuple(found))


def _cover_kind(agreement: str, kind: str, covered: tuple[str, ...] | None, wanted: Names) -> Iterable[Finding]:
    if covered is None:
        for name in sorted({ALL} if wanted is None else wanted):
            yield Finding(Answer.YES, kind, f"Agreement {agreement} covers every {kind}, and so {name}.")
        return
    what = f"{_PLURALS[kind]} {', '.join(covered)}" if covered else f"no {kind}"
    if wanted is None:
        yield Finding(Answer.NO, kind, f"Agreement {agreement} covers {what}, not all {_PLURALS[kind]}.")
        return
    folded = {fold(name): name for name in covered}
    for name in sorted(wanted):
        if fold(name) in folded:
            yield Finding(Answer.YES, kind, f"Agreement {agreement} covers {kind} {name}.")
        elif kind == "centre" and (near := _find_similar(name, folded)):
            words = f"Whether centre {name} is the centre {near} of agreement {agreement} is for a person to judge."
            yield Finding(Answer.LOOK, kind, words)
        else:
            words = f"Agreement {agreement} does not cover {kind} {name}; it covers {what}."
            yield Finding(Answer.NO, kind, words)


def _find_similar(name: str, folded: dict[str, str]) -> str:
    """A covered centre whose words include those of this name, or the reverse: it may be the same."""
    words = set(fold(name).split())
    near = (given for each, given in folded.items() if words <= set(each.split()) or words >= set(each.split()))
    return next(near, "") if words else ""
