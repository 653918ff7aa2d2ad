"""Purges withdrawn patients: removes them from every snapshot of a lake, so that no byte of theirs stays.

1. The list records that the purge has begun, so that it can be finished whatever happens, and the log of access, which
   of its own texts name the patients.
2. Every Parquet file with rows of the patients, of any snapshot, is written anew without them, and so is what names
   rows by their position. Nothing refers to the new files yet.
3. One transaction of the catalogue puts them in the place of the old ones, with their statistics, and hands the old
   ones to DuckLake for removal. Before it, the lake is as it was; after it, every snapshot is without the patients.
4. DuckLake removes the old files; the catalogue is compacted, so that its free pages hold nothing either; backups are
   brought up to date.
5. What is left is searched for the patients; the certificate states the result and is recorded.

It may be killed at any moment: run again, it does what is left.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine.faults import explain_faults
from warehouse.errors import UsageError
from warehouse.lake import locks, waiting
from warehouse.lake.read_copy import drop_read_copy
from warehouse.progress import Progress, ignore_progress
from warehouse.withdrawal import (
    announcing,
    changing,
    cleaning_up,
    mentions,
    proof,
    removal,
    rewriting,
    rows,
    standing_list,
    stored,
)
from warehouse.withdrawal import catalogue as catalogues
from warehouse.withdrawal.certificate import Certificate, FileChange, build_certificate
from warehouse.withdrawal.digests import Key, open_key
from warehouse.withdrawal.redaction import Patterns

if TYPE_CHECKING:
    from warehouse.lake.location import Location
    from warehouse.settings import Settings


@dataclass(slots=True)
class Purge:
    """A purge as far as it has come: whom by digest, their pseudonyms as far as known, and what was changed."""

    digests: set[str]
    names: dict[str, str]
    withheld: list[removal.Withheld] = field(default_factory=list)
    changes: list[FileChange] = field(default_factory=list)
    snapshots: set[int] = field(default_factory=set)
    n_rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    n_mentions: int = 0
    n_texts: int = 0
    removed: cleaning_up.Removed = field(default_factory=lambda: cleaning_up.Removed([]))


@explain_faults()
def purge(
    place: Location,
    settings: Settings,
    patients: Sequence[str] = (),
    reason: str = "",
    *,
    backups: Sequence[Path] = (),
    progress: Progress = ignore_progress,
) -> Certificate:
    """Purge patients, who are put on the standing list if they are not, and finish any purge that was interrupted.

    Returns the certificate. UsageError if there is nobody to purge, LakeError if a file cannot be written anew exactly:
    then every answer is as it was, and the purge is unfinished.
    """
    for patient in patients:
        changing.check_patient(patient)
    if patients:
        changing.withdraw(place, settings, patients, reason)
    done, key = _begin(place, settings, patients)
    progress("searching", 0, 0)
    with catalogues.open_catalogue(place, settings) as catalogue:
        data_files = stored.list_data_files(catalogue.con, place, catalogue.schema)
        done.names |= rows.find_names(catalogue.con, data_files, key, done.digests)
    announcing.announce(place, settings, done.names)
    _rewrite(place, settings, done, key, progress)
    progress("removing files", 0, 0)
    done.removed = cleaning_up.remove_files(place, settings)
    cleaning_up.compact_catalogue(place, settings)
    progress("backups", 0, 0)
    known = cleaning_up.renew_backups(place, settings, backups)
    progress("searching what is left", 0, 0)
    found = proof.search(place, settings, done.names, done.digests, key, known)
    found.findings += cleaning_up.describe_left(place, done.removed)
    certificate = build_certificate(place, done, found)
    if certificate.holds:
        with waiting.open_writer(place, settings) as con:
            changing.record_purge(con, key, sorted(done.digests), certificate.digest)
    return certificate


def _begin(place: Location, settings: Settings, patients: Sequence[str]) -> tuple[Purge, Key]:
    """Record that the purge has begun, and how many objects the patients have in the buckets."""
    with waiting.open_writer(place, settings) as con:
        entries = standing_list.read_entries(con)
        key = open_key(con, place, {entry.key_check for entry in entries})
        names = {patient: key.digest_patient(patient) for patient in patients}
        due = {entry.digest for entry in entries if entry.is_purge_due}
        if not names and not due:
            raise UsageError("There is nobody to purge: no purge was interrupted. Name the patients.")
        if new := set(names.values()) - due:
            changing.record_purge(con, key, sorted(new))
        digests = due | set(names.values())
        removal.record_live(con, key, digests)
        withheld = [one for one in removal.read_all_withheld(con) if one.digest in digests]
    return Purge(digests, names, withheld), key


def _rewrite(place: Location, settings: Settings, done: Purge, key: Key, progress: Progress) -> None:
    """Write the files anew, and put them in the place of the old ones."""
    with locks.hold_lock(place, settings) as holder, catalogues.open_catalogue(place, settings) as catalogue:
        con = catalogue.con
        locks.mark_writer(con, holder)
        data_files = stored.list_data_files(con, place, catalogue.schema)
        done.names |= rows.find_names(con, data_files, key, done.digests)
        found = rows.find_rows(con, data_files, done.names)
        patterns = Patterns.of(done.names)
        named = mentions.find_mentions(con, data_files, patterns, found.rows)
        done.n_mentions = named.n_rows
        touched = [file for file in data_files if file.file_id in found.rows or file.file_id in named.replaced]
        deletes: dict[int, list[stored.DeleteFile]] = defaultdict(list)
        for delete in stored.list_delete_files(con, place, catalogue.schema):
            deletes[delete.file_id].append(delete)
        written: list[tuple[stored.DataFile, rewriting.Written, list[int]]] = []
        others: list[tuple[stored.DeleteFile, rewriting.Written | None]] = []
        for place_of, file in enumerate(touched, 1):
            positions = found.rows.get(file.file_id, [])
            new = rewriting.rewrite_data_file(
                con, catalogue.schema, file, positions, named.replaced.get(file.file_id, {})
            )
            written.append((file, new, positions))
            for delete in deletes[file.file_id]:
                others.append(
                    (
                        delete,
                        rewriting.rewrite_delete_file(con, delete, new.path, positions) if new.n_rows else None,
                    )
                )
            done.n_rows[file.table_name] += len(positions)
            done.changes.append(FileChange.of(con, place, file, new, len(positions)))
            progress("rewriting", place_of, len(touched))
        _commit(catalogue, done, patterns, written, others)
    # Readers of it would miss the old files; it has least and greatest values, too.
    drop_read_copy(place, removes=True)


def _commit(
    catalogue: catalogues.Catalogue,
    done: Purge,
    patterns: Patterns,
    written: list[tuple[stored.DataFile, rewriting.Written, list[int]]],
    others: list[tuple[stored.DeleteFile, rewriting.Written | None]],
) -> None:
    con = catalogue.con
    con.execute("begin")
    try:
        for file, new, positions in written:
            catalogues.swap_data_file(catalogue, file, new, len(positions))
        for delete, other in others:
            catalogues.swap_delete_file(catalogue, delete, other)
        for table_id in {file.table_id for file, _, _ in written}:
            catalogues.renew_table_statistics(catalogue, table_id)
        done.n_texts = catalogues.redact_texts(catalogue, patterns)
        done.snapshots = catalogue.list_snapshots([file for file, _, _ in written])
        catalogue.require_lock()
        con.execute("commit")
    except BaseException:
        with contextlib.suppress(Exception):
            con.execute("rollback")
        raise
