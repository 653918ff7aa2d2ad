"""The changes of its buckets that a queue reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from warehouse.object_store import keys

#: More places than this are not worth naming: a listing of the whole source finds them faster.
_MOST_PLACES = 200


@dataclass(frozen=True, slots=True)
class Changes:
    """Whether there is something new, of how many keys, and why, in one sentence that names no patient and no number.

    `sources` are those with changes. `prefixes` are where these are, below its source, for a refresh of just these;
    empty when that is not known or they are too many. They name patients: never log them.
    """

    new: bool
    keys: int
    why: str
    sources: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = field(default=(), repr=False)


def find_prefixes(changed: Iterable[str]) -> tuple[str, ...]:
    """The prefixes to refresh for keys that changed: a patient's folder, or an odd key itself; () for too many.

    A header and its .dcm lie in one patient's folder of the dated layout; the published one keeps them apart, and
    pairing needs no more than the object that changed.
    """
    found = set()
    for key in changed:
        parts = keys.parse_key(key)
        depth = {"dated": 2, "published": 3}.get(parts.layout)
        found.add("/".join(key.split("/")[:depth]) + "/" if depth else key)
        if len(found) > _MOST_PLACES:
            return ()
    return tuple(sorted(found))
