"""Recognises who has withdrawn or opted out by the digests of the standing list, whether or not a snapshot has them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from warehouse.engine.faults import explain_faults
from warehouse.lake import connection
from warehouse.withdrawal import removal

if TYPE_CHECKING:
    from warehouse.lake.location import Location
    from warehouse.settings import Settings


def make_recogniser(place: Location, settings: Settings) -> Callable[[str], bool]:
    """What tells whether a pseudonym is that of somebody who is excluded, by the list as it is when it is first asked.

    LakeError then if the list cannot be read.
    """
    excluded = functools.cache(lambda: _read_excluded(place, settings))

    def is_withdrawn(name: str) -> bool:
        found = excluded()
        return found is not None and found.key.digest_patient(name) in found.digests

    return is_withdrawn


@explain_faults()
def _read_excluded(place: Location, settings: Settings) -> removal.Excluded | None:
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        found = removal.read_excluded(con, place)
    return found if found and found.digests else None
