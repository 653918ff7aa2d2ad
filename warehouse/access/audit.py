"""Who took what, when, from which snapshot and under which agreement: releases and refusals, and manifests of before;
and who changed the standing list of withdrawals, which changes what there is to take.

A release is an event whose body has `what` (the command), `snapshot`, `group`, the number of `patients`, and
`patients_set`: the digest of their set, under which access.releases (memory.py) has its members as keyed digests. So a
release can be found by a patient without naming one. Manifests without an agreement are in ops.manifests alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from warehouse.access import vocabulary
from warehouse.access.applications import find_application
from warehouse.access.log import Event, read_rows
from warehouse.access.naming import mask_names
from warehouse.access.odd_events import explain_odd_events
from warehouse.access.patient_sets import digest_patients
from warehouse.access.switch import is_enforced
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts
from warehouse.lake import connection, secret, store

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.settings import Settings

_SQL = "access/audit.sql"
#: Facts of a manifest, and where ops.manifests has them.
_COLUMNS = {
    "snapshot": "snapshot",
    "as_of": "as_of",
    "group": "group_name",
    "patients": "n_patients",
    "images": "n_images",
    "objects": "n_objects",
    "digest": "digest",
    "seal": "seal",
}
_KINDS = {
    vocabulary.RELEASED: "released",
    vocabulary.REFUSED: "refused",
    vocabulary.ASKED: "asked",
    vocabulary.AIRLOCK_RELEASED: "released",
}


@dataclass(frozen=True, slots=True)
class Taking:
    """What was released or refused, a question by a patient's name, a manifest without an agreement, or a change of the
    standing list.

    `kind` is released, refused, asked, manifest or list.

    `facts` has what else is known: snapshot, group, as_of, patients, images, digest, reason …
    """

    at: datetime
    kind: str
    agreement: str
    who: str
    what: str
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as a mapping, in one level."""
        return {**{name: value for name, value in asdict(self).items() if name != "facts"}, **self.facts}


@dataclass(frozen=True, slots=True)
class Audit:
    """What was taken, oldest first; `unknown` counts manifests that may have the patient or not."""

    takings: tuple[Taking, ...]
    unknown: int = 0


@explain_odd_events()
def audit_releases(
    place: Location, settings: Settings, *, agreement: str = "", patient: str = "", since: date | None = None
) -> Audit:
    """Find what was taken: under an agreement, with a patient in it, since a day (UTC), or all. Changes of the standing
    list, which name no patient and concern every agreement, are listed where neither is asked for.

    UsageError for an unknown agreement, LakeError if the secret that releases are searched with cannot be read.
    """
    store.require(place)
    sql = sql_files.read_statements(_SQL)
    with contextlib.closing(connection.connect(settings, place)) as con, store.explain_errors(place):
        connection.attach(con, place, "read_only")
        there = {row["name"] for row in fetch_dicts(con.execute(sql["tables"]))}
        events = read_rows(con)
        manifests = fetch_dicts(con.execute(sql["manifests"])) if "ops.manifests" in there else []
        if is_enforced(events):
            manifests = [row | mask_names(con, place, {"cohort": row["cohort"]}) for row in manifests]
        sets = _find_sets(con, place, patient) if patient and "access.releases" in there else set()
    if agreement and all(event.about != agreement for event in events):
        find_application(events, agreement)
    found = [*_list_releases(events), *_list_manifests(events, manifests), *_list_changes(events)]
    begin = datetime(since.year, since.month, since.day, tzinfo=UTC) if since else None
    found = [one for one in found if (not agreement or one.agreement == agreement) and (not begin or one.at >= begin)]
    unknown = sum(one.kind == "manifest" for one in found) if patient else 0
    if patient:
        found = [one for one in found if (one.agreement, one.facts.get("patients_set")) in sets]
    return Audit(tuple(sorted(found, key=lambda one: one.at)), unknown)


def _find_sets(con: duckdb.DuckDBPyConnection, place: Location, patient: str) -> set[tuple[str, str]]:
    key = secret.require_secret(con, place, "releases are found by it")
    number = int(digest_patients(key, [patient])[0])
    rows = con.execute(sql_files.read_statements(_SQL)["sets with"], {"number": str(number)}).fetchall()
    return {(agreement, digest) for agreement, digest in rows}


def _list_releases(events: Sequence[Event]) -> Iterable[Taking]:
    for event in events:
        if event.event in _KINDS:
            facts = {name: value for name, value in event.body.items() if name != "what"}
            kind, what = _KINDS[event.event], str(event.body.get("what", ""))
            if event.event == vocabulary.AIRLOCK_RELEASED:
                what = f"airlock request {event.body['request']}, files: {len(event.body['files']):,}"
            yield Taking(event.at, kind, event.about, event.actor, what, {**facts, "event": event.number})


def _list_manifests(events: Sequence[Event], manifests: Sequence[dict[str, Any]]) -> Iterable[Taking]:
    """The registered manifests that no release of the log is about."""
    logged = {event.body.get("seal") for event in events if event.event == vocabulary.RELEASED} - {None}
    for row in manifests:
        if row.get("seal") not in logged:
            facts = {name: row.get(column) for name, column in _COLUMNS.items()}
            facts = {
                name: str(value) if name == "as_of" else value for name, value in facts.items() if value is not None
            }
            yield Taking(row["created_at"], "manifest", "", row["created_by"], f"manifest of {row['cohort']}", facts)


def _list_changes(events: Sequence[Event]) -> Iterable[Taking]:
    """Changes of the standing list, and what purges have announced to redact in the log."""
    for event in events:
        if event.event == vocabulary.LIST_CHANGED:
            counts = ", ".join(f"{n:,} {action}" for action, n in sorted(event.body["changes"].items()))
            facts = {**event.body, "event": event.number}
            yield Taking(event.at, "list", "", event.actor, f"standing list {event.body['list']}, {counts}", facts)
        elif event.event == vocabulary.REDACTED:
            what = "names of purged patients removed from texts"
            yield Taking(event.at, "list", "", event.actor, what, {**event.body, "event": event.number})
