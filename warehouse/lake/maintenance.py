"""Maintenance of a lake: stores the same rows in fewer files, expires snapshots and removes unused files.

No answer changes: the newest published snapshot is kept, all of the last `keep_days`, and every snapshot of a
registered manifest. It may be killed at any time; the next run resumes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.rows import fetch_first
from warehouse.errors import LakeError, UsageError
from warehouse.lake import file_records, location, locks, store
from warehouse.lake.backup import contents
from warehouse.lake.snapshots import METADATA
from warehouse.object_store.inventory import MAX_AGE
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings

_SQL = "maintenance/maintenance.sql"

#: How long a superseded snapshot is kept for readers that have it open; not if nothing is to be kept (`keep_days` 0).
READERS_GRACE = timedelta(days=1)

#: With more orphans than this, none is removed without consent: killed refreshes leave few, while a catalogue that is
#: older than its files, or that of another lake, lists few of them.
MAX_ORPHANS_PERCENT = 25

#: The files that ops.files may have before they are merged: each maintenance adds one, which is no work for the next.
_FEW_RECORDS = 16

#: Whole days for which an orphan is kept, in addition to the day on which it became one.
_GRACE_DAYS = 2


@dataclass(frozen=True, slots=True)
class Compacted:
    """The number of rewritten files, and of the files that replaced them."""

    files: int
    into: int | None


@dataclass(frozen=True, slots=True)
class Space:
    """The number and size of the Parquet files of the lake."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """What maintenance did, or in a dry run would do, as far as that is known in advance.

    `snapshot` is the newest published one (-1: none), `waiting` the commits that are not published. Files of
    snapshots that `expired` now are removed a day later at the earliest.
    """

    dry_run: bool
    snapshot: int
    waiting: int
    rewritten: Compacted
    merged: Compacted
    expired: tuple[int, ...]
    kept: tuple[int, ...]
    removed_files: int
    removed_orphans: int
    before: Space
    after: Space


@explain_faults()
def maintain(
    lake_address: str = "",
    *,
    keep_days: int | None = None,
    dry_run: bool = False,
    allow_orphans: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> MaintenanceResult:
    """Rewrite files with many deleted rows, merge small ones, expire snapshots, and remove the files of old ones.

    `keep_days` defaults to CHEST_KEEP_DAYS. Takes the writer's lock; never makes a lake. Raises LakeBusyError while a
    refresh runs, LakeError when there is no lake or more than `MAX_ORPHANS_PERCENT` of its files are orphans (unless
    `allow_orphans`), UsageError for a negative number of days. Then nothing was done.
    """
    settings = settings or load_settings()
    days = settings.keep_days if keep_days is None else keep_days
    if days < 0:
        raise UsageError(f"Snapshots cannot be kept for {days} days. Give 0 or more.")
    place = location.parse_address(lake_address or settings.lake)
    with store.open_writer(place, settings, make=False) as con:
        before = _measure_space(con, place)
        if not allow_orphans:
            _refuse_orphans(con, place, before.files)
        if dry_run:
            rewritten, merged = _estimate(con, place)
        else:
            file_records.forget_vanished(con, place)
            rewritten, merged = _compact(con, progress)
            # Before older records expire: of the file that a record wrote itself nothing else has the checksum.
            file_records.record_files(con, place, settings)
        expired, kept = _expire(con, days, dry_run)
        progress("removing files", 0, 0)
        removed, orphans = (len(_remove(con, name, dry_run)) for name in ("cleanup", "orphans"))
        newest, waiting = store.find_unpublished(store.list_snapshots(con))
        after = _measure_space(con, place)
    if not dry_run and place.folder:
        _shrink_catalogue(place, settings)
    return MaintenanceResult(
        dry_run, newest, len(waiting), rewritten, merged, expired, kept, removed, orphans, before, after
    )


def _shrink_catalogue(place: location.Location, settings: Settings) -> None:
    """Give back what expired snapshots leave free in a SQLite catalogue. Never fails: the next maintenance tries again,
    and PostgreSQL does it by itself."""
    with contextlib.suppress(LakeError), locks.hold_lock(place, settings):
        contents.shrink_catalogue(place.catalogue)


#: The newest commit with each of these is needed for what it states.
_LASTING = ("files", "withdrawals", "withheld")


def find_needed(con: duckdb.DuckDBPyConnection, history: list[store.Snapshot], keep_days: int) -> set[int]:
    """The numbers of the snapshots that stay: everything since the newest published one, that one, those published in
    the last days, and those of registered manifests; all, when nothing is published yet. Listings stay while an
    inventory may be older than they are: it must not undo what they have learnt.

    A snapshot that another has superseded within the last day stays as well: a reader may still be on it.

    Of the snapshots that one maintenance published on its way only the last counts, once a day has passed.
    """
    newest, _ = store.find_unpublished(history)
    now = datetime.now(UTC)
    since, yesterday = now - timedelta(days=keep_days), now - timedelta(days=1)
    manifests = {int(row[0]) for row in con.execute(sql_files.read_statements(_SQL)["needed"]).fetchall()}
    published = [s for s in history if s.is_published]
    open_to_readers = {old.number for old, new in pairwise(published) if new.time >= now - READERS_GRACE}
    last_of_run = {s.info["upkeep"]: s.number for s in history if s.is_maintenance}
    # The newest record of checksums; and what the standing list of withdrawals is known by, and where it was applied.
    last_of = {max((s.number for s in history if name in s.info), default=-1) for name in _LASTING}

    def stays(s: store.Snapshot) -> bool:
        if (
            s.number >= newest
            or s.number in manifests
            or s.number in last_of
            or (keep_days and s.number in open_to_readers)
        ):
            return True
        if s.info.get("step") == "objects" and s.time >= now - MAX_AGE:
            return True
        is_on_the_way = s.is_maintenance and s.number != last_of_run[s.info["upkeep"]] and s.time < yesterday
        return s.is_published and s.time >= since and not is_on_the_way

    return {s.number for s in history if stays(s)}


def _compact(con: duckdb.DuckDBPyConnection, progress: Progress) -> tuple[Compacted, Compacted]:
    """Rewrite and merge, table by table. The result is published at once if no other commit is unpublished: the rows
    are the same, and readers should get the better files."""
    _, waits = store.find_unpublished(store.list_snapshots(con))
    info: dict[str, Any] = {"upkeep": datetime.now(UTC).isoformat(timespec="seconds")} | (
        {} if waits else {"published": True}
    )
    con.execute("set preserve_insertion_order = true")  # in patient order the rows compress and prune well
    sql = sql_files.read_statements(_SQL)
    tables = con.execute(sql["tables"], {"few": _FEW_RECORDS}).fetchall()
    totals = {"rewrite": [0, 0], "merge": [0, 0]}
    for done, (schema, table) in enumerate(tables):
        progress("compacting tables", done, len(tables))
        for name, total in totals.items():
            query = sql_files.fill(sql[name], schema=sql_files.literal(schema), table=sql_files.literal(table))
            work: Callable[[], list[tuple[int | None, ...]]] = lambda q=query: con.execute(q).fetchall()  # type: ignore[misc]  # noqa: E731
            ((processed, created),) = store.transact(con, f"maintenance: {name} {schema}.{table}", work, **info)
            total[0] += processed or 0
            total[1] += created or 0
    return Compacted(*totals["rewrite"]), Compacted(*totals["merge"])


def _estimate(con: duckdb.DuckDBPyConnection, place: location.Location) -> tuple[Compacted, Compacted]:
    schema = sql_files.identifier(place.schema if place.is_postgres else "main")
    catalogue = f"{METADATA}.{schema}"
    row = fetch_first(con.execute(sql_files.fill(sql_files.read_statements(_SQL)["outlook"], catalogue=catalogue)))
    assert row is not None
    return Compacted(int(row[0]), None), Compacted(int(row[1]), None)


def _expire(con: duckdb.DuckDBPyConnection, keep_days: int, dry_run: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The snapshots to expire, and the published ones that are kept."""
    history = store.list_snapshots(con)
    stay = find_needed(con, history, keep_days)
    go = tuple(s.number for s in history if s.number not in stay)
    if go:
        _call(con, "expire", dry_run, versions=str([*go]))
    return go, tuple(s.number for s in history if s.number in stay and s.is_published)


def _remove(con: duckdb.DuckDBPyConnection, name: str, dry_run: bool) -> list[str]:
    return _call(con, name, dry_run, day=sql_files.literal(f"{_find_cutoff(datetime.now(UTC).date())} 00:00:00+00"))


def _refuse_orphans(con: duckdb.DuckDBPyConnection, place: location.Location, n_files: int) -> None:
    """Raise LakeError if so many files are orphans that the catalogue is probably the wrong one."""
    n_orphans = len(_remove(con, "orphans", dry_run=True))
    if n_orphans > n_files * MAX_ORPHANS_PERCENT / 100:
        raise LakeError(
            f"{n_orphans:,} of the {n_files:,} files in {place.data_path} are in no snapshot of {place.name}, "
            f"more than {MAX_ORPHANS_PERCENT} %. Nothing was done. Check that the catalogue is the newest one of these "
            "files. If they are really unused, allow their removal:  chest maintain … --allow-orphans"
        )


def _find_cutoff(today: date) -> date:
    return today - timedelta(days=_GRACE_DAYS)


def _call(con: duckdb.DuckDBPyConnection, name: str, dry_run: bool, **values: str) -> list[str]:
    query = sql_files.fill(sql_files.read_statements(_SQL)[name], dry_run=str(dry_run).lower(), **values)
    if not dry_run:
        locks.require_lock(con)
    try:
        return [row[0] for row in con.execute(query).fetchall()]
    except duckdb.IOException as error:
        with contextlib.suppress(duckdb.Error):
            con.execute("rollback")
        raise LakeError(
            f"Maintenance stopped: {str(error).splitlines()[0]}. No answer has changed; run it again."
        ) from error


def _measure_space(con: duckdb.DuckDBPyConnection, place: location.Location) -> Space:
    if "://" in place.data_path:
        files = sql_files.literal(f"{place.data_path}**/*.parquet")
        row = fetch_first(con.execute(sql_files.fill(sql_files.read_statements(_SQL)["stored"], files=files)))
        return Space(int(row[0]), int(row[1])) if row else Space(0, 0)
    sizes = [path.lstat().st_size for path in Path(place.data_path).rglob("*.parquet")]
    return Space(len(sizes), sum(sizes))
