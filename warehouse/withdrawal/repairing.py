"""Repairs a lake, and puts patients on the standing list again whom files of it name that the catalogue lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.errors import LakeError
from warehouse.lake import connection, doctor, migrations, store, waiting
from warehouse.lake.doctor.findings import STANDING_LIST, Kind
from warehouse.lake.listed_files import list_files
from warehouse.lake.location import Location, parse_address
from warehouse.lake.read_copy import drop_read_copy
from warehouse.lake.stored_files import open_storage
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings
from warehouse.withdrawal import standing_list
from warehouse.withdrawal.changing import Change, commit_changes
from warehouse.withdrawal.digests import open_key

_SQL = "withdrawal/standing_list.sql"


def repair_lake(
    lake_address: str = "",
    *,
    from_backup: str | Path = "",
    accept_loss: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> tuple[doctor.Repaired, int]:
    """Repair a lake as `doctor.repair` does, and its standing list: what was done, and how many patients were put back.

    A catalogue that is restored lacks those who withdrew since: they are put back before it takes the place of the
    damaged one, so that nobody can read the lake without them. Where an older catalogue was put in place by other
    means, the next repair does so; files of the list that no snapshot has are removed by this alone, after what they
    have has been committed. With `accept_loss` such files that cannot be read are left out; else LakeError.
    """
    settings = settings or load_settings()
    numbers: list[int] = []
    done = doctor.repair(
        lake_address,
        from_backup=from_backup,
        accept_loss=accept_loss,
        settings=settings,
        progress=progress,
        prepare=lambda staged: numbers.append(_put_back_first(staged, settings, accept_loss)),
    )
    number = sum(numbers)
    left = done.after.findings
    if not done.after.is_readable or any(found.is_of_data or found.kind is Kind.CATALOGUE for found in left):
        return done, number  # no lake to be written; a later repair finds the same files
    place = parse_address(lake_address or settings.lake)
    number += put_back(place, settings, accept_loss=accept_loss)
    if done.is_restored or any(found.kind is Kind.PLACE for found in left):
        return done, number  # another backup may know these files
    stray = [found.where for found in left if found.where.startswith(STANDING_LIST)]
    storage = open_storage(place, settings)
    for name in stray:
        storage.remove(name)
    if not stray:
        return done, number
    lines = [f"{name}, which no snapshot lists, was removed." for name in stray]
    after = doctor.examine(lake_address, settings=settings, progress=progress)
    return replace(done, done=(*done.done, *lines), after=after), number


@explain_faults()
def put_back(place: Location, settings: Settings, *, accept_loss: bool = False) -> int:
    """Put patients on the list again who were put on it after the backup that a lake was restored from: what they are
    named in is still among the lake's files, though no snapshot has it. Returns how many.

    Only what excludes a patient counts, unless the list has a later change of the patient: whoever was given back, or
    permitted, after the backup has to be again. LakeError if such a file cannot be read, unless `accept_loss`.
    """
    with waiting.open_writer(place, settings) as con:
        return _put_back(con, place, _find_unlisted(con, place, settings), accept_loss)


@explain_faults()
def _put_back_first(staged: Location, settings: Settings, accept_loss: bool) -> int:
    """The same in a catalogue that is not in its place yet; the caller holds the lock of the lake."""
    with contextlib.closing(connection.connect(settings, staged)) as con:
        connection.attach(con, staged)
        if not (paths := _find_unlisted(con, staged, settings)):
            return 0
        migrations.upgrade(con, staged, store.transact)
        return _put_back(con, staged, paths, accept_loss)


def _find_unlisted(con: duckdb.DuckDBPyConnection, place: Location, settings: Settings) -> list[str]:
    """The files of the standing list that no snapshot of an attached lake has."""
    listed = {file.path for file in list_files(con, place)}
    found = [name for name in open_storage(place, settings).list_files() if name.startswith(STANDING_LIST)]
    return [place.data_path + name for name in found if name.endswith(".parquet") and name not in listed]


def _put_back(con: duckdb.DuckDBPyConnection, place: Location, paths: list[str], accept_loss: bool) -> int:
    if accept_loss:
        paths = [path for path in paths if _is_readable(con, path)]
    if not paths:
        return 0
    try:
        rows = con.execute(_render_unlisted(paths)).fetchall()
    except duckdb.Error:
        raise LakeError(
            f"{len(paths):,} files of the standing list ({paths[0]}) are of after the backup and cannot be read, so "
            "who withdrew since is not known. Name a newer backup; or stop all readers, repair with --accept-loss, and "
            "withdraw those again before anybody reads:  chest withdraw"
        ) from None
    excluded, checks = standing_list.list_excluded(con)
    key = open_key(con, place, checks | {row[3] for row in rows})
    changes = [Change(action, digest, reason) for digest, action, reason, _ in rows if digest not in excluded]
    if changes:
        drop_read_copy(place)
        commit_changes(con, key, changes)
    return len(changes)


def _is_readable(con: duckdb.DuckDBPyConnection, path: str) -> bool:
    try:
        con.execute(_render_unlisted([path])).fetchall()
    except duckdb.Error:
        return False
    return True


def _render_unlisted(paths: Iterable[str]) -> str:
    files = f"[{', '.join(map(sql_files.literal, paths))}]"
    return sql_files.fill(sql_files.read_statements(_SQL)["unlisted"], files=files)
