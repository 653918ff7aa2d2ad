"""One writer per lake: a lock that the operating system or PostgreSQL releases when its holder dies."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import IO

import duckdb

from warehouse.engine.messages import first_line
from warehouse.engine.rows import fetch_first
from warehouse.engine.sql_files import literal
from warehouse.errors import LakeBusyError, LakeError
from warehouse.filesystem import files
from warehouse.lake.connection import attach_postgres, connect
from warehouse.lake.location import Location
from warehouse.lake.snapshots import METADATA
from warehouse.settings import Settings

#: Any number that other programs in the database do not use; this one spells "chest".
_ADVISORY_KEY = 0x6368657374
#: The variable of a writer's connection that names the PostgreSQL process with its lock.
_HOLDER = "chest_lock_holder"
_LOCK = "writer.lock"
#: How long a writer waits for readers that look at the lock (is_held), and how long between two attempts, in seconds.
#: Each has it for a moment, but on a busy machine many may follow one another.
_PATIENCE, _PAUSE = 60.0, 0.01


def _to_busy_error(location: Location) -> LakeBusyError:
    return LakeBusyError(f"Another refresh is writing to {location.name}. Wait until it is done, then run it again.")


@contextlib.contextmanager
def hold_lock(location: Location, settings: Settings) -> Iterator[int | None]:
    """Hold the lake's lock; LakeBusyError at once if it is held by another process.

    Yields the PostgreSQL process that holds it, for `require_lock`; None for a file lock, which cannot be lost.
    """
    with _hold_postgres_lock(location, settings) if location.is_postgres else _hold_file_lock(location) as holder:
        yield holder


def mark_writer(con: duckdb.DuckDBPyConnection, holder: int | None) -> None:
    """Store on a connection which process holds its lock."""
    if holder is not None:
        con.execute(f"set variable {_HOLDER} = $holder", {"holder": holder})


def require_lock(con: duckdb.DuckDBPyConnection, database: str = METADATA) -> None:
    """Raise LakeError if the lock of this connection is lost; `database` is the catalogue as it is attached.

    If only the connections were cut, DuckDB silently opens new ones, and another writer may have the lock.
    """
    row = fetch_first(con.execute(f"select getvariable('{_HOLDER}')"))
    if not row or row[0] is None:
        return
    query = f"select count(*) from pg_locks where locktype = 'advisory' and granted and pid = {int(row[0])}"
    catalogue = literal(database)
    held = fetch_first(con.execute(f"select * from postgres_query({catalogue}, {literal(query)})"))
    if not held or not held[0]:
        raise LakeError(
            "The lake's catalogue closed the connections, and another process may be writing to it. Nothing of this "
            "step was written; what was committed before is safe. Run it again."
        )


@contextlib.contextmanager
def _hold_file_lock(location: Location) -> Iterator[None]:
    if sys.platform == "win32":  # no flock on Windows; with one machine and one user, Dagster's limits suffice
        yield
        return
    import fcntl

    assert location.folder is not None
    path = location.folder / _LOCK
    try:
        handle = files.open_lock(path)
    except OSError as error:
        raise LakeError(
            f"The lake {location.name} cannot be written: {error.strerror} ({path.name}). Give this user the right to "
            "write there."
        ) from None
    with handle:
        until = time.monotonic() + _PATIENCE
        while not _take(handle, fcntl.LOCK_EX):
            if not _take(handle, fcntl.LOCK_SH) or time.monotonic() > until:  # readers share it, a writer does not
                raise _to_busy_error(location)
            fcntl.flock(handle, fcntl.LOCK_UN)
            time.sleep(_PAUSE)
        yield


def _take(handle: IO[bytes], kind: int) -> bool:
    """Whether a lock of a kind could be taken at once."""
    import fcntl

    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_held(location: Location) -> bool:
    """Whether a writer holds the lock of a lake in a folder; true where that cannot be seen."""
    if sys.platform == "win32":
        return True
    import fcntl

    assert location.folder is not None
    try:
        with files.open_to_read(location.folder / _LOCK) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextlib.contextmanager
def _hold_postgres_lock(location: Location, settings: Settings) -> Iterator[int]:
    """Hold an advisory lock in an open transaction; PostgreSQL releases it with the connection."""
    with contextlib.closing(connect(settings, location)) as con:
        try:
            attach_postgres(con, location, "pg")
            con.execute("begin")
            key = f"{_ADVISORY_KEY} + hashtext({literal(location.schema)})"
            query = f"select pg_try_advisory_xact_lock({key}), pg_backend_pid()"
            row = fetch_first(con.execute(f"select * from postgres_query('pg', {literal(query)})"))
        except duckdb.Error as error:
            raise LakeError(f"The lake {location.name} cannot be opened: {first_line(error)}") from None
        if not row or not row[0]:
            raise _to_busy_error(location)
        try:
            yield int(row[1])
        finally:
            # Without the server, closing an open transaction would end the process, because it rolls back.
            with contextlib.suppress(duckdb.Error):
                con.execute("rollback")


def list_postgres_holders(con: duckdb.DuckDBPyConnection, location: Location) -> list[tuple[int, str, str]]:
    """The PostgreSQL processes with the writer's lock of an attached lake: number, client and start of each."""
    key = f"{_ADVISORY_KEY} + hashtext({literal(location.schema)})"
    query = (
        "select pid, coalesce(host(client_addr), 'local') as client, cast(backend_start as text) as since "
        "from pg_stat_activity where pid in (select pid from pg_locks where locktype = 'advisory' and granted "
        f"and (cast(classid as bigint) << 32) + cast(objid as bigint) = {key})"
    )
    catalogue = literal(METADATA)
    return con.execute(f"select * from postgres_query({catalogue}, {literal(query)})").fetchall()
