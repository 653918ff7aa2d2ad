"""Repairs a lake: what is safe to do, in an order in which each step may be the last."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.engine.faults import explain_faults
from warehouse.filesystem import leftovers, permissions
from warehouse.lake import connection, data_path, file_records, locks, store
from warehouse.lake.doctor import dropping, mending, restoring, surroundings
from warehouse.lake.doctor.examination import Report, examine_place
from warehouse.lake.doctor.findings import ASIDE, RELOADABLE, REWRITTEN, STANDING_LIST, Finding, Kind
from warehouse.lake.listed_files import ListedFile, list_files
from warehouse.lake.location import Location, parse_address
from warehouse.lake.maintenance import MAX_ORPHANS_PERCENT
from warehouse.lake.stored_files import open_storage
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was found, what was done about it, and what is left. `to_load` if a refresh has to load rows again;
    `is_restored` if the catalogue is that of a backup, which lacks what came later."""

    before: Report
    done: tuple[str, ...]
    after: Report
    to_load: bool
    is_restored: bool = False


@explain_faults()
def repair(
    lake_address: str = "",
    *,
    from_backup: str | Path = "",
    accept_loss: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
    prepare: Callable[[Location], object] | None = None,
) -> Repaired:
    """Repair a lake as far as that is safe, under the writer's lock.

    From a backup, lost files are put back byte for byte, and a damaged catalogue is replaced. Other lost files leave
    the newest state, so that the next refresh loads their rows from the bucket; those of tables that no bucket has
    (such as ops.manifests) only with `accept_loss`. What older snapshots had of them stays lost, and reading it is an
    error. `prepare` gets the lake with the catalogue of the backup before anybody else can open it. Orphans, but for
    those of the standing list, and leftovers are removed. LakeBusyError while a refresh runs,
    LakeError if there is no lake, UsageError if `from_backup` is no backup.
    """
    settings = settings or load_settings()
    place = parse_address(lake_address or settings.lake)
    backup = restoring.require_backup(Path(from_backup)) if from_backup else None
    left_over = surroundings.find_leftovers(place)  # before a connection of this process removes them
    if place.folder and not place.folder.exists():
        store.require(place)
    done: list[str] = []
    with permissions.tighten_umask(), locks.hold_lock(place, settings) as holder:
        before = report = examine_place(place, settings, progress, is_locked=True)
        is_restored = False
        if backup and any(found.kind is Kind.CATALOGUE for found in report.findings):
            content = restoring.restore_catalogue(place, backup, prepare=prepare)
            done.append(f"The catalogue was restored from {backup}, up to snapshot {content.newest}.")
            is_restored = True
            report = examine_place(place, settings, progress, is_locked=True)
        if report.is_readable:
            to_load = _repair_files(place, settings, report, backup, accept_loss, holder, done) or is_restored
            if not is_restored:
                done += _remove_orphans(place, settings, report)
        else:
            to_load = False
        done += _remove_leftovers(place, left_over)
        after = examine_place(place, settings, progress, is_locked=True) if done or not before.is_healthy else before
    return Repaired(before, tuple(done), after, to_load, is_restored)


def _repair_files(
    place: Location,
    settings: Settings,
    report: Report,
    backup: Path | None,
    accept_loss: bool,
    holder: int | None,
    done: list[str],
) -> bool:
    """Put back or drop lost files; whether a refresh has to load rows again."""
    lost = [found for found in report.findings if found.is_of_data and found.file]
    if backup and lost:
        back = set(restoring.put_back(place, backup, lost))
        done += [f"{path} was put back from {backup}." for path in sorted(back)]
        lost = [found for found in lost if found.file and found.file.path not in back]
    gone = [found.file for found in lost if found.file and _may_drop(found.file, accept_loss)]
    if any(found.kind in (Kind.CATALOGUE, Kind.PLACE) for found in report.findings):
        return False  # what a catalogue lists that is wrong itself is not dropped
    if not lost:
        return False
    with _attach(place, settings, holder) as con:
        listed = list_files(con, place)
    dropped = dropping.choose_files(gone, listed)
    if dropped:
        dropping.drop_files(place, settings, dropped)
        done += [_describe_drop(file) for file in dropped if file.kind == "data"]
    needed = {file.path for file in listed if file.is_live} - {file.path for file in dropped}
    _set_aside(place, settings, [found for found in lost if found.where not in needed], done)
    tables = {file.table for file in dropped}
    with _attach(place, settings, holder) as con:
        if "ops.migrations" in tables:
            mending.rewrite_migrations(con)
        if changed := tables - {"ops.migrations", "ops.files"}:
            mending.mend(con, changed)
        file_records.record_files(con, place, settings)
        data_path.write_mark(con, place)
    return bool(tables & RELOADABLE)


def _may_drop(file: ListedFile, accept_loss: bool) -> bool:
    return file.table in RELOADABLE | REWRITTEN or (accept_loss and bool(file.table))


def _describe_drop(file: ListedFile) -> str:
    if file.table in RELOADABLE:
        return f"{file.path} was dropped: the next refresh loads its {file.rows:,} rows of {file.table} again."
    if file.table in REWRITTEN:
        return f"{file.path} was dropped: its rows of {file.table} were written again."
    return f"{file.path} was dropped: its {file.rows:,} rows of {file.table} are lost."


@contextlib.contextmanager
def _attach(place: Location, settings: Settings, holder: int | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Attach the lake to write, although files of it are lost, which `store.open_writer` refuses."""
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place)
        locks.mark_writer(con, holder)
        yield con


def _set_aside(place: Location, settings: Settings, lost: list[Finding], done: list[str]) -> None:
    """Rename damaged files that the newest state does not need: what reads an older snapshot fails then."""
    storage = open_storage(place, settings)
    for found in lost:
        if found.kind is Kind.DAMAGED:
            storage.set_aside(found.where, ASIDE)
            done.append(f"{found.where} was renamed to *{ASIDE}: older snapshots no longer read it.")


def _remove_orphans(place: Location, settings: Settings, report: Report) -> list[str]:
    """Remove files that no snapshot lists, unless they are so many that the catalogue may be the wrong one; those of
    the standing list stay."""
    orphans = [found.where for found in report.findings if found.kind is Kind.ORPHAN]
    is_odd = any(found.kind in (Kind.CATALOGUE, Kind.PLACE) for found in report.findings)
    if is_odd or len(orphans) > max(report.files, 4) * MAX_ORPHANS_PERCENT / 100:
        return []
    storage = open_storage(place, settings)
    removed = [name for name in orphans if not name.startswith(STANDING_LIST)]
    for name in removed:
        storage.remove(name)
    return [f"{name}, which no snapshot lists, was removed." for name in removed]


def _remove_leftovers(place: Location, found: list[Finding]) -> list[str]:
    for folder in surroundings.list_temporary_places(place):
        leftovers.remove_dead(folder)
    return [f"{one.where}, which a process left behind, was removed." for one in found]
