"""The metadata of a lake's snapshots: published or not, with or without new data, blocked and by which checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from warehouse.catalog import check_rules
from warehouse.engine.json_values import parse_json
from warehouse.engine.sql_files import identifier
from warehouse.errors import LakeError, UsageError
from warehouse.lake.location import Location
from warehouse.version import __version__

#: The name under which a lake is attached; views and macros refer to it.
ALIAS = "lake"
#: The schemas of a lake: that of its views, and those of its tables.
SCHEMAS = ("main", "raw", "core", "ops", "access")
#: The name under which DuckLake attaches the database of its catalogue.
METADATA = f"__ducklake_metadata_{ALIAS}"
#: Commits that publish nothing have one of these in their info: a manifest, an event of access, what was released, the
#: standing list of withdrawals, checksums of files; that checks blocked a refresh; the same rows in other files.
_QUIET = {"manifest", "access", "released", "withdrawals", "files", "blocked", "upkeep"}

#: What in it is a number: versions of the standing list of withdrawals, and what a refresh brought.
_NUMBERS = ("withdrawals", "withheld", "added", "changed", "removed", "images", "clinical", "rejected")


def find_catalogue(location: Location, database: str = METADATA) -> str:
    """The schema with DuckLake's own tables, quoted: of the attached lake, or of a catalogue attached as `database`."""
    schema = location.schema if location.is_postgres else "main"
    return f"{identifier(database)}.{identifier(schema)}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version of the lake: its number, time (UTC), and the extra info of its commit."""

    number: int
    time: datetime
    message: str
    info: dict[str, Any]

    @property
    def is_published(self) -> bool:
        """Whether a refresh ended with this snapshot, so that readers may see it."""
        return bool(self.info.get("published"))

    @property
    def is_blocked(self) -> bool:
        """Whether it only recorded that checks blocked a refresh."""
        return "blocked" in self.info

    @property
    def is_maintenance(self) -> bool:
        """Whether it only stored the same rows in other files."""
        return "upkeep" in self.info

    @property
    def has_new_data(self) -> bool:
        """Whether it has new data that readers do not see until it is published."""
        return not _QUIET & self.info.keys()


def list_snapshots(con: duckdb.DuckDBPyConnection) -> list[Snapshot]:
    """List every snapshot that the lake still has, oldest first."""
    rows = con.execute(
        "select snapshot_id, snapshot_time, commit_message, commit_extra_info "
        f"from ducklake_snapshots('{ALIAS}') order by 1"
    ).fetchall()
    return [Snapshot(number, when, message or "", parse_info(extra)) for number, when, message, extra in rows]


def find_newest(con: duckdb.DuckDBPyConnection) -> int:
    """The number of the newest snapshot, without those before it."""
    return int(con.execute(f"select id from ducklake_current_snapshot('{ALIAS}')").fetchall()[0][0])


def find_published(history: list[Snapshot], wanted: int | None, location: Location) -> Snapshot:
    """Find a published snapshot of a lake's history, the newest by default; LakeError if there is none yet, UsageError
    if `wanted` was not published or is gone."""
    published = [s for s in history if s.is_published]
    if not published and (refusals := [s for s in history if s.is_blocked]):
        names = ", ".join(str(one["check"]) for one in refusals[-1].info["blocked"])
        raise LakeError(
            f"The lake {location.name} has no published snapshot yet: its first refresh was blocked ({names}). "
            f"See the rows:  chest check {names.split(', ')[0]} --unpublished"
        )
    if not published:
        raise LakeError(
            f"The lake {location.name} has no published snapshot yet. Finish a refresh:  chest refresh BUCKET"
        )
    if wanted is None:
        return published[-1]
    for snapshot in published:
        if snapshot.number == wanted:
            return snapshot
    if 0 <= wanted < history[-1].number and wanted not in {s.number for s in history}:
        raise UsageError(
            f"Snapshot {wanted} of {location.name} is gone: maintenance keeps those published in the last days and "
            "those of registered manifests (chest maintain --help). "
            f"Published are: {_format_snapshots(published)}."
        )
    raise UsageError(
        f"Snapshot {wanted} is not a published snapshot of {location.name}. "
        f"Published are: {_format_snapshots(published)}."
    )


def _format_snapshots(published: list[Snapshot]) -> str:
    numbers = [str(s.number) for s in published]
    return ", ".join(numbers if len(numbers) <= 8 else [*numbers[:3], "…", *numbers[-4:]])


def find_unpublished(history: list[Snapshot]) -> tuple[int, list[Snapshot]]:
    """Find the newest published snapshot (-1 if none), and the later commits with new data, hidden from readers."""
    last = max((s.number for s in history if s.is_published), default=-1)
    return last, [s for s in history if s.number > last and s.has_new_data]


def has_newest_schema(history: list[Snapshot], wanted: int | None) -> bool:
    """Whether the snapshot `wanted`, or the newest that is published, certainly has the schema of the newest of all.

    It has if all commits since are still listed, and were made by this version, which upgrades a lake before all else.
    """
    if wanted is None:
        wanted = max((snapshot.number for snapshot in history if snapshot.is_published), default=-1)
    later = [snapshot for snapshot in history if snapshot.number > wanted]
    is_whole = len(later) == history[-1].number - wanted
    return is_whole and all(
        snapshot.info.get("tool") == __version__ and "migration" not in snapshot.info for snapshot in later
    )


def parse_info(text: str | None) -> dict[str, Any]:
    """The extra info of a commit; empty if it is not that of one of our commits."""
    try:
        info = parse_json(text or "{}")
    except ValueError:
        return {}
    return info if isinstance(info, dict) and _is_of_ours(info) else {}


def _is_of_ours(info: dict[str, Any]) -> bool:
    """Whether what the info of our commits has is of the types that it has there: a lake may be somebody else's."""
    blocked = info.get("blocked", [])
    return (
        all(isinstance(info.get(name, 0), int) for name in _NUMBERS)
        and isinstance(info.get("upkeep", ""), str)
        and isinstance(blocked, list)
        and all(isinstance(one, dict) and isinstance(one.get("rows"), int) and "check" in one for one in blocked)
    )


#: The advice for blocked publishing.
BLOCKED_ADVICE = (
    "See the rows:  chest check {check} --unpublished.  A refresh that was stopped goes on when it is run again, "
    "without a prefix; rows altered by another program are loaded again by  chest refresh BUCKET --full"
)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A blocking check that holds publishing back: its faulty rows, in which snapshot, and since when."""

    check: str
    title: str
    rows: int
    snapshot: int
    at: datetime


def find_blocked(history: Sequence[Snapshot]) -> list[Blocked]:
    """Find the checks that block publishing, from the last attempt; empty if it succeeded.

    `history` is that of the lake, oldest first. A check is blocking since the first of the attempts without a
    published snapshot or a good result of it in between.
    """
    newest, since = -1, dict[str, Snapshot]()
    found: dict[str, int] = {}
    for snapshot in history:
        if snapshot.is_published:
            since, found = dict[str, Snapshot](), {}
        elif snapshot.is_blocked:
            found = {str(one["check"]): int(one["rows"]) for one in snapshot.info["blocked"]}
            since = {check: since.get(check, snapshot) for check in found}
            newest = snapshot.number
    known = check_rules.load_definitions()
    return [
        Blocked(check, known[check].title if check in known else check, rows, newest, since[check].time)
        for check, rows in found.items()
    ]
