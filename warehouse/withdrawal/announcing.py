"""Announces, in the log of access, which of its events and which versions of the standing list a purge will redact.

Neither should name a patient, but somebody may have written one into a reason. The announcement comes before the purge,
with the hashes of what will be there afterwards: so the log can be verified at any moment, and only that change is
accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from warehouse.access import log, vocabulary
from warehouse.lake import store, waiting
from warehouse.withdrawal import recording
from warehouse.withdrawal.mentions import redact_texts
from warehouse.withdrawal.redaction import Patterns

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.settings import Settings

_COLUMNS = ("event", "about", "actor", "role", "text")


def announce(place: Location, settings: Settings, names: Iterable[str]) -> None:
    """Append one event about what a purge of these pseudonyms will redact; none if nothing names them."""
    pattern = Patterns.of(names).anywhere
    if not pattern:
        return
    with waiting.open_writer(place, settings) as con:
        events = log.read_rows(con)
        found = {
            "events": _redact_events(con, events, pattern),
            "list": _redact_list(con, events, recording.read_changes(con), pattern),
        }
        known = {what: log.find_announced(events, what) for what in found}
        body = {
            what: [[number, text] for number, text in sorted(each.items()) if known[what].get(number) != text]
            for what, each in found.items()
        }
        if any(body.values()):
            made = log.chain_events(events[-1] if events else None, [log.NewEvent(vocabulary.REDACTED, body=body)])
            work = log.insert_events
            store.transact(con, "access redaction", lambda: work(con, made), access=log.describe_head(made))


def _redact_events(con: duckdb.DuckDBPyConnection, events: Sequence[log.Event], pattern: str) -> dict[int, str]:
    texts = [getattr(event, column) for event in events for column in _COLUMNS]
    new = iter(redact_texts(con, texts, pattern))
    found = {}
    for event in events:
        kind, about, actor, role, text = (next(new) for _ in _COLUMNS)
        after = replace(event, event=kind, about=about, actor=actor, role=role, text=text)
        if after != event:
            found[event.number] = after.compute_hash()
    return found


def _redact_list(
    con: duckdb.DuckDBPyConnection, events: Sequence[log.Event], changes: Sequence[dict[str, Any]], pattern: str
) -> dict[int, str]:
    """The digest of each version that will be another."""
    places = [
        (number, name) for number, row in enumerate(changes) for name, value in row.items() if isinstance(value, str)
    ]
    texts = redact_texts(con, [changes[number][name] for number, name in places], pattern)
    after = [dict(row) for row in changes]
    for (number, name), text in zip(places, texts, strict=True):
        after[number][name] = text
    before = recording.digest_versions(events, changes)
    found = recording.digest_versions(events, after)
    return {version: text for version, text in found.items() if text != before[version]}
