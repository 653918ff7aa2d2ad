"""One writer a lake: a lock that the operating system or PostgreSQL releases when its holder dies."""

import contextlib
import sys
from collections.abc import Iterator

import duckdb

from warehouse.engine.messages import first_line
from warehouse.engine.sql_files import literal
from warehouse.errors import LakeBusyError, LakeError
from warehouse.filesystem import files
from warehouse.lake.connection import attach_postgres, connect
from warehouse.lake.location import Location
from warehouse.settings import Settings

#: Any number does that other programs in the database do not use; this one spells "chest".
_ADVISORY_KEY = 0x6368657374


def _busy(location: Location) -> LakeBusyError:
    return LakeBusyError(f"Another refresh is writing to {location.name}. Wait until it is done, then run it again.")


@contextlib.contextmanager
def hold_lock(location: Location, settings: Settings) -> Iterator[None]:
    """Hold the lake's lock; LakeBusyError at once when somebody else has it."""
    with _postgres(location, settings) if location.is_postgres else _file(location):
        yield


@contextlib.contextmanager
def _file(location: Location) -> Iterator[None]:
    if sys.platform == "win32":  # no flock there; one machine, one user: Dagster's own limits must do
        yield
        return
    import fcntl

    assert location.folder is not None
    path = location.folder / "writer.lock"
    try:
        handle = files.open_lock(path)
    except OSError as error:
        raise LakeError(f"The lake {location.name} cannot be written: {error.strerror} ({path.name}).") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _busy(location) from None
        yield


@contextlib.contextmanager
def _postgres(location: Location, settings: Settings) -> Iterator[None]:
    """An advisory lock of a transaction that stays open; PostgreSQL drops it with the connection."""
    with contextlib.closing(connect(settings, location)) as con:
        try:
            attach_postgres(con, location, "pg")
            con.execute("begin")
            query = f"select pg_try_advisory_xact_lock({_ADVISORY_KEY} + hashtext({literal(location.schema)}))"
            row = con.execute(f"select * from postgres_query('pg', {literal(query)})").fetchone()
        except duckdb.Error as error:
            raise LakeError(f"The lake {location.name} cannot be opened: {first_line(error)}") from None
        if not row or not row[0]:
            raise _busy(location)
        try:
            yield
        finally:
            # Where the server is gone, closing with the transaction open would end the process: it rolls back then.
            with contextlib.suppress(duckdb.Error):
                con.execute("rollback")
