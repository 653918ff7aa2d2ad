"""The log of access: events in the lake, appended and never edited, each with the hash of the one before.

The hash of an event is the SHA-256 of the canonical JSON of all its columns but the hash. So a change, a removal or
another order of events breaks the chain, except at its end: that events were removed there shows by a head (the hash of
the last event) that was kept elsewhere, as every manifest keeps it.
Whoever may write to the lake could compute a whole new chain; it does not have the heads that others hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import duckdb

from warehouse.access import vocabulary
from warehouse.access.odd_events import explain_odd_events
from warehouse.engine import sql_files
from warehouse.engine.json_values import parse_json
from warehouse.engine.messages import first_line
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.errors import LakeBusyError, LakeError, UsageError
from warehouse.lake import connection, store, waiting
from warehouse.lake.location import Location
from warehouse.lake.read_copy import drop_read_copy
from warehouse.settings import Settings

_SQL = "access/log.sql"


class Head(NamedTuple):
    """The end of the log: number and hash of its last event."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append: what happened (`application.event/submitted` …), about which application, and its body.

    The body is JSON without a patient's identifier: only keyed digests. Without `actor` it is the operating system's
    user.
    """

    event: str
    about: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    actor: str = ""
    role: str = ""


@dataclass(frozen=True)
class Event:
    """An event as it is stored. `text` is its body as canonical JSON; `body`, the same parsed ({} if it cannot be)."""

    number: int
    at: datetime
    event: str
    about: str
    actor: str
    role: str
    text: str
    previous_hash: str
    hash: str

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body, parsed; {} where it is no JSON object, which `verify_chain` reports."""
        try:
            found = parse_json(self.text)
        except (TypeError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def compute_hash(self) -> str:
        """Compute the hash that the event ought to have."""
        rest = {
            "number": self.number,
            "at": format_time(self.at),
            "event": self.event,
            "about": self.about,
            "actor": self.actor,
            "role": self.role,
            "body": self.text,
            "previous_hash": self.previous_hash,
        }
        return f"sha256:{hashlib.sha256(render_canonical(rest).encode()).hexdigest()}"


def render_canonical(value: object) -> str:
    """Render JSON in its one canonical form: keys sorted, no blank space, UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def format_time(at: datetime) -> str:
    """A time as events are hashed with it: UTC to the microsecond, `2026-01-31T09:30:00.000000Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def append(
    place: Location,
    settings: Settings,
    *new: NewEvent,
    also: Callable[[duckdb.DuckDBPyConnection], object] | None = None,
) -> list[Event]:
    """Append events in one transaction, under the writer's lock; returns them as they are stored.

    `also` is done on the writer within the transaction; what it raises goes on, and nothing is appended.

    LakeBusyError if another process writes longer than waiting.SECONDS, LakeError for any other obstacle: then nothing
    was appended.
    """
    return append_decided(place, settings, lambda _: new, also=also)


def append_decided(
    place: Location,
    settings: Settings,
    decide: Callable[[list[Event]], Sequence[NewEvent]],
    *,
    also: Callable[[duckdb.DuckDBPyConnection], object] | None = None,
) -> list[Event]:
    """Append the events that `decide` makes of those already there, which nobody can add to in the meantime.

    What `decide` raises goes on unchanged, and nothing is appended. Otherwise as `append`.
    """
    store.require(place)
    try:
        with waiting.open_writer(place, settings) as con:
            there = read_rows(con)
            made = chain_events(there[-1] if there else None, decide(there))
            if made:

                def work() -> None:
                    if also:
                        also(con)
                    insert_events(con, made)

                drop_read_copy(place)
                store.transact(con, f"access {made[-1].event}", work, access=describe_head(made))
            return made
    except (LakeError, duckdb.Error) as error:
        kind = LakeBusyError if isinstance(error, LakeBusyError) else LakeError
        reason = first_line(error).rstrip(".")
        raise kind(f"The log of access cannot be written: {reason}. Nothing was recorded.") from None


def describe_head(made: Sequence[Event]) -> dict[str, object]:
    """What the commit that appends events keeps of them in its extra info (`access`): the head of the log after it."""
    return {"number": made[-1].number, "head": made[-1].hash}


def read_events(place: Location, settings: Settings) -> list[Event]:
    """Read the log as it is now, whatever is published; empty for a lake of before there were logs.

    LakeError if there is no lake, or it cannot be read.
    """
    store.require(place)
    with contextlib.closing(connection.connect(settings, place)) as con, store.explain_errors(place):
        connection.attach(con, place, "read_only")
        return read_rows(con)


def read_rows(con: duckdb.DuckDBPyConnection) -> list[Event]:
    """The same over a connection that has the lake attached, at the snapshot that it is attached at."""
    sql = sql_files.read_statements(_SQL)
    if not fetch_first(con.execute(sql["there"])):
        return []
    return to_events(fetch_dicts(con.execute(sql["read"])))


def to_events(rows: Iterable[dict[str, Any]]) -> list[Event]:
    """The events of rows of the table."""
    return [Event(**{("text" if name == "body" else name): value for name, value in row.items()}) for row in rows]


def read_head(place: Location, settings: Settings) -> Head | None:
    """Read the head of the log as it is now; None where nothing was logged yet."""
    return find_head(read_events(place, settings))


def find_head(events: Sequence[Event]) -> Head | None:
    """The head of a log: number and hash of its last event; None where nothing was logged yet."""
    return Head(events[-1].number, events[-1].hash) if events else None


def verify_chain(events: Sequence[Event], heads: Iterable[str] = ()) -> list[str]:
    """Verify a log, and that it still has the heads that somebody kept; returns what is wrong, a sentence each.

    A head may be without its `sha256:`. A change, a removal, an addition or another order of events is always found,
    at the end of the log by a head of that time or later. What a purge put in the place of a pseudonym is no change
    where a later event announces it.
    """
    announced = find_announced(events)
    problems, previous = [], ""
    for place, event in enumerate(events, 1):
        if event.number != place:
            problems.append(f"Event {place} is missing: event {event.number} is in its place.")
            return [*problems, *_find_lost_heads(events, heads)]
        if event.previous_hash != previous:
            problems.append(f"Event {place} does not follow event {place - 1}: one of them was replaced.")
        if event.hash != event.compute_hash() and not _is_redacted(event, announced):
            problems.append(
                f"Event {place} ({event.event} {event.about}) was changed: its hash is not that of its content."
            )
        elif event.text != render_canonical(event.body):
            problems.append(f"Event {place} ({event.event} {event.about}) has a body that is not canonical JSON.")
        previous = event.hash
    return [*problems, *_find_lost_heads(events, heads)]


@explain_odd_events()
def find_announced(events: Sequence[Event], what: str = "events") -> dict[int, str]:
    """What purges have announced to redact: the hash of each event (by number) as it is without the pseudonyms, or of
    each version of the standing list (`what`: list)."""
    announced = (event for event in events if event.event == vocabulary.REDACTED)
    pairs = [(event, number, text) for event in announced for number, text in event.body.get(what) or ()]
    return {int(number): str(text) for event, number, text in pairs if what != "events" or number < event.number}


def list_redacted(events: Sequence[Event]) -> list[int]:
    """The numbers of events that a purge has redacted: only their announcement proves what else they had."""
    announced = find_announced(events)
    return [event.number for event in events if event.hash != event.compute_hash() and _is_redacted(event, announced)]


def _is_redacted(event: Event, announced: dict[int, str]) -> bool:
    texts = f"{event.about} {event.actor} {event.role} {event.text}"
    return vocabulary.REPLACEMENT in texts and announced.get(event.number) == event.compute_hash()


def _find_lost_heads(events: Sequence[Event], heads: Iterable[str]) -> list[str]:
    there = {event.hash for event in events}
    return [
        f"The log has no event with the hash {head}: events were removed from its end, or it is another log."
        for head in dict.fromkeys(map(parse_head, heads))
        if head not in there
    ]


def parse_head(text: str) -> str:
    """Parse the hash of an event, with or without `sha256:`; UsageError if it is none."""
    digits = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise UsageError(
            f"{text!r} is no head of a log. Give sha256: and 64 hex digits, as chest access verify prints."
        )
    return f"sha256:{digits}"


def chain_events(last: Event | None, new: Sequence[NewEvent]) -> list[Event]:
    """The events that would follow the last one of a log, with their numbers, times and hashes; nothing is stored.

    UsageError for a text that cannot be stored."""
    made: list[Event] = []
    for one in new:
        # Before it is hashed, which half of a character cannot be.
        refuse_placeholders("The event for the log of access", one.event, one.about, one.actor, one.role, one.body)
        # A clock that was set back does not turn the order of events round.
        at = max(datetime.now(UTC), last.at) if last else datetime.now(UTC)
        bare = Event(
            number=last.number + 1 if last else 1,
            at=at,
            event=one.event,
            about=one.about,
            actor=one.actor or store.get_author(),
            role=one.role,
            text=render_canonical(one.body),
            previous_hash=last.hash if last else "",
            hash="",
        )
        last = replace(bare, hash=bare.compute_hash())
        made.append(last)
    return made


def insert_events(con: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """Insert events that follow the last one of the log (`chain_events`), on a writer within its transaction.

    UsageError for a text that cannot be stored.
    """
    query = sql_files.read_statements(_SQL)["append"]
    for event in events:
        values = asdict(event)
        refuse_placeholders("The event for the log of access", *values.values())
        con.execute(query, {"body": values.pop("text"), **values})
