"""Reads the standing list for whoever manages it, without a session: a lake may have nothing published yet."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from warehouse.engine.faults import explain_faults
from warehouse.lake import connection, migrations, store
from warehouse.lake.location import parse_address
from warehouse.settings import load_settings
from warehouse.withdrawal import removal, standing_list
from warehouse.withdrawal.digests import open_key
from warehouse.withdrawal.standing_list import Entry


@dataclass(frozen=True, slots=True)
class StandingList:
    """The list: entries, with the pseudonym where it was asked for; how many there are by state; objects withheld."""

    entries: list[tuple[Entry, str]]
    missing: list[str]
    states: dict[str, int]
    withheld: int


@explain_faults()
def read_list(lake_address: str, patients: Sequence[str] = ()) -> StandingList:
    """Read the list of a lake, or what it has of the patients given; LakeError if there is no lake."""
    settings = load_settings()
    place = parse_address(lake_address or settings.lake)
    store.require(place)
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only", "create_if_not_exists false")
        migrations.check_version(con, place)
        entries = standing_list.read_entries(con)
        states = Counter(entry.state for entry in entries if entry.state != "returned")
        withheld = removal.count_withheld(con)
        if not patients:
            shown = [(entry, "") for entry in entries if entry.state != "returned"]
            return StandingList(shown, [], dict(states), withheld)
        key = open_key(con, place, {entry.key_check for entry in entries})
        by_digest = {entry.digest: entry for entry in entries if entry.state != "returned"}
        digests = {patient: key.digest_patient(patient) for patient in patients}
        named = [(by_digest[d], patient) for patient, d in digests.items() if d in by_digest]
        return StandingList(named, [p for p, d in digests.items() if d not in by_digest], dict(states), withheld)
