"""Repairs a lake, and puts patients on the standing list again whom files of it name that the catalogue lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.errors import LakeError
from warehouse.lake import doctor, waiting
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

    A catalogue that is restored lacks those who withdrew since. A repair that ends in between is taken up by the next:
    files of the list that no snapshot has are removed by this alone, after what they have has been committed.
    """
    settings = settings or load_settings()
    done = doctor.repair(
        lake_address, from_backup=from_backup, accept_loss=accept_loss, settings=settings, progress=progress
    )
    left = done.after.findings
    if not done.after.is_readable or any(found.is_of_data or found.kind is Kind.CATALOGUE for found in left):
        return done, 0  # no lake to be written; a later repair finds the same files
    place = parse_address(lake_address or settings.lake)
    number = put_back(place, settings)
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
def put_back(place: Location, settings: Settings) -> int:
    """Put patients on the list again who were put on it after the backup that a lake was restored from: what they are
    named in is still among the lake's files, though no snapshot has it. Returns how many.

    Only what excludes a patient counts, unless the list has a later change of the patient: whoever was given back, or
    permitted, after the backup has to be again. LakeError if such a file cannot be read.
    """
    with waiting.open_writer(place, settings) as con:
        listed = {file.path for file in list_files(con, place)}
        found = [name for name in open_storage(place, settings).list_files() if name.startswith(STANDING_LIST)]
        paths = [place.data_path + name for name in found if name.endswith(".parquet") and name not in listed]
        if not paths:
            return 0
        query = sql_files.fill(
            sql_files.read_statements(_SQL)["unlisted"], files=f"[{', '.join(map(sql_files.literal, paths))}]"
        )
        try:
            rows = con.execute(query).fetchall()
        except duckdb.Error:
            raise LakeError(
                f"{len(paths):,} files of the standing list ({paths[0]}) are of after the backup and cannot be read. "
                "Withdraw those again who withdrew since:  chest withdraw"
            ) from None
        excluded, checks = standing_list.list_excluded(con)
        key = open_key(con, place, checks | {row[3] for row in rows})
        changes = [Change(action, digest, reason) for digest, action, reason, _ in rows if digest not in excluded]
        if changes:
            drop_read_copy(place)
            commit_changes(con, key, changes)
        return len(changes)
