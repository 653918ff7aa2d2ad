"""States each change of the standing list in the log of access, without naming anybody, and verifies that both agree.

An event has the version of the list, how many patients each action concerned, and the SHA-256 of the rows of that
version. So the log's chain covers the list: a row that was changed, added or removed no longer has the digest.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from warehouse.access import vocabulary
from warehouse.access.log import Event, NewEvent, find_announced, format_time, read_rows, render_canonical
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.lake import connection, store

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.settings import Settings

_SQL = "withdrawal/standing_list.sql"
Row = Mapping[str, Any]


def describe_change(con: duckdb.DuckDBPyConnection, events: Sequence[Event], rows: Sequence[Row]) -> NewEvent:
    """The event for the rows of a new version of the list; the first one covers the versions of before it, too."""
    version = int(rows[0]["version"])
    body: dict[str, Any] = {
        "list": version,
        "changes": dict(Counter(str(row["action"]) for row in rows)),
        "digest": digest_rows(rows),
    }
    if certificate := rows[0].get("certificate"):
        body["certificate"] = certificate
    if version > 1 and not any(event.event == vocabulary.LIST_CHANGED for event in events):
        body["earlier"] = digest_rows(read_changes(con))
    return NewEvent(vocabulary.LIST_CHANGED, body=body, role="handler")


def digest_rows(rows: Iterable[Row]) -> str:
    """SHA-256 over the canonical JSON of changes, whatever their order."""
    texts = sorted(
        render_canonical(
            {name: format_time(value) if isinstance(value, datetime) else value for name, value in row.items()}
        )
        for row in rows
    )
    return f"sha256:{hashlib.sha256(chr(10).join(texts).encode()).hexdigest()}"


def read_changes(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Every change of the list, over a connection at the newest state of the lake; empty for a lake of before it."""
    sql = sql_files.read_statements(_SQL)
    if not fetch_first(con.execute(sql["there"])):
        return []
    return fetch_dicts(con.execute(sql["changes"]))


def digest_versions(events: Sequence[Event], changes: Iterable[Row]) -> dict[int, str]:
    """The digest of each version of the list that the log states; 0 has that of all before them, if there are any."""
    first = min(filter(None, _read_stated(events)), default=0)
    found: dict[int, list[Row]] = defaultdict(list)
    for row in changes if first else ():
        found[int(row["version"]) if row["version"] >= first else 0].append(row)
    return {version: digest_rows(rows) for version, rows in found.items()}


def _read_stated(events: Sequence[Event]) -> dict[int, str]:
    """The digests that the log has of versions of the list."""
    bodies = [event.body for event in events if event.event == vocabulary.LIST_CHANGED]
    found = {int(body["list"]): str(body["digest"]) for body in bodies}
    if bodies and "earlier" in bodies[0]:
        found[0] = str(bodies[0]["earlier"])
    return found


def verify_list(place: Location, settings: Settings) -> list[str]:
    """Compare the standing list with what the log states of it; returns what is wrong, a sentence each.

    LakeError if there is no lake, or it cannot be read.
    """
    store.require(place)
    with contextlib.closing(connection.connect(settings, place)) as con, store.explain_errors(place):
        connection.attach(con, place, "read_only")
        return compare_list(read_rows(con), read_changes(con))


def compare_list(events: Sequence[Event], changes: Sequence[Row]) -> list[str]:
    """The same for an event log and changes that were read."""
    there, stated, redacted = digest_versions(events, changes), _read_stated(events), find_announced(events, "list")
    problems = []
    for version in sorted(there | stated):
        name = f"Version {version} of the standing list" if version else "The standing list of before the log"
        if version not in stated:
            problems.append(f"{name} has no event in the log: somebody added it by other means.")
        elif there.get(version, "") not in (stated[version], redacted.get(version)):
            problems.append(f"{name} was changed: the log has another digest of it.")
    return problems
