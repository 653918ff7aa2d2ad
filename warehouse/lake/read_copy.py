"""A copy of a SQLite catalogue for readers, so that readers and writers never wait for each other.

A reader holds SQLite's shared lock for as long as it reads an answer. A commit must wait for it, and meanwhile SQLite
lets no new reader in. If the commit gives up, DuckDB's extension keeps its lock until the process ends (DuckDB 1.5.5).
So readers attach a copy, which is renewed at the end of each writer's session: replaced by renaming, never changed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import duckdb

from warehouse.engine.sql_files import identifier, literal
from warehouse.errors import LakeError
from warehouse.filesystem import files
from warehouse.lake import data_path, locks
from warehouse.lake.location import READ_COPY, Location
from warehouse.lake.snapshots import METADATA

#: The time of a copy that nobody attaches any more.
_DROPPED = 0


def find_read_copy(location: Location) -> Path | None:
    """The copy that readers of a lake attach; None for the catalogue itself.

    A copy is as old as the catalogue, to the nanosecond, unless a writer is at work, when it has what was there before.
    Otherwise a writer died before it renewed the copy, or the catalogue was restored: then the copy does not count.
    """
    if location.folder is None:
        return None
    path = location.folder / READ_COPY
    try:
        copied, written = path.stat().st_mtime_ns, location.catalogue.stat().st_mtime_ns
    except OSError:
        return None
    return path if copied == written or (copied != _DROPPED and locks.is_held(location)) else None


def drop_read_copy(location: Location, *, only_stale: bool = False, removes: bool = False) -> None:
    """Have readers attach the catalogue from now on; for a writer, which holds the lock.

    At the start of its session if the copy is not that of the catalogue (`only_stale`), because readers believe it
    while a writer is at work; and where a change must be seen at once: a withdrawal, an event of access. Those who have
    attached the copy open it again with each query: it stays until it is replaced, unless what it has must go at once
    (`removes`), as by a purge.
    """
    if location.folder is None:
        return
    path = location.folder / READ_COPY
    with contextlib.suppress(FileNotFoundError):
        if only_stale and path.stat().st_mtime_ns == location.catalogue.stat().st_mtime_ns:
            return
        stays = not removes and not path.is_symlink()
        if stays:
            with contextlib.suppress(OSError):  # it is another user's
                os.utime(path, ns=(_DROPPED, _DROPPED))
        if not stays or path.stat().st_mtime_ns != _DROPPED:
            path.unlink()


def is_current(con: duckdb.DuckDBPyConnection, location: Location) -> bool:
    """Whether nothing was committed to a lake since a reader attached it; always true with PostgreSQL.

    By the mark of the data path, which each writer writes at its end, after the last change of the catalogue.
    """
    if location.folder is None:
        return True
    try:
        marked, written = Path(location.data_path, data_path.MARK).stat(), location.catalogue.stat()
        if marked.st_mtime_ns < written.st_mtime_ns:
            return False
        return data_path.read_mark_of_folder(location.data_path) == data_path.read_identity(con, location)
    except (OSError, LakeError):
        return False


def renew_read_copy(con: duckdb.DuckDBPyConnection, location: Location, *, has_changed: bool) -> None:
    """Renew the copy if the session committed something, or the catalogue's time differs: for a writer, at its end.

    Both, because not every change makes a snapshot, and some file systems count time in seconds. Never fails, because
    readers attach the catalogue where the copy is older.
    """
    if location.folder is None:
        return
    target = location.folder / READ_COPY
    with contextlib.suppress(duckdb.Error, OSError):
        written = location.catalogue.stat()
        if not has_changed and target.exists() and target.stat().st_mtime_ns == written.st_mtime_ns:
            return
        with files.make_part_folder(location.folder) as folder:
            part = folder / READ_COPY
            con.execute(f"attach {literal(str(part))} as read_copy (type sqlite)")
            try:
                con.execute(f"copy from database {identifier(METADATA)} to read_copy")
            finally:
                con.execute("detach read_copy")
            part.chmod(written.st_mode & 0o777)
            os.utime(part, ns=(written.st_atime_ns, written.st_mtime_ns))
            part.replace(target)
