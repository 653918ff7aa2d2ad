"""The lake as storage: attach it to read, pinned at a snapshot, or to write, upgraded first.

DuckLake's settings and pitfalls are described in docs/architecture.md. The catalogue file is opened only
through DuckDB: a second SQLite library in one process would drop its locks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb

from warehouse.engine.connections import open_connection
from warehouse.engine.messages import explain_damage, explain_shortage, first_line
from warehouse.engine.rows import fetch_first
from warehouse.engine.sql_files import identifier, literal
from warehouse.errors import LakeError, WarehouseError
from warehouse.filesystem import files, permissions
from warehouse.lake import data_path, encryption, file_records, locks, migrations, secret, stored_sql
from warehouse.lake.connection import (
    attach,
    attach_postgres,
    connect,
    prepare_encrypted,
    search_lake_last,
    use_threads,
)
from warehouse.lake.location import CATALOGUE, Location
from warehouse.lake.optimisers import ignore_statistics, keep_joins_as_written
from warehouse.lake.read_copy import drop_read_copy, find_read_copy, renew_read_copy
from warehouse.lake.snapshots import (
    ALIAS,
    Snapshot,
    find_catalogue,
    find_newest,
    find_published,
    find_unpublished,
    has_newest_schema,
    list_snapshots,
)
from warehouse.lake.transactions import TRIES, get_author, transact, wait_briefly
from warehouse.settings import Settings

__all__ = [
    "ALIAS",
    "Snapshot",
    "exists",
    "find_catalogue",
    "find_newest",
    "find_published",
    "find_unpublished",
    "get_author",
    "keep_joins_as_written",
    "list_snapshots",
    "open_reader",
    "open_writer",
    "require",
    "transact",
    "wait_briefly",
]
#: Errors that a reader gets while maintenance expires snapshots: it tries again.
_PASSING = ("No snapshot found", "database is locked")
#: DuckLake's error for a database that is not a catalogue yet.
_NO_CATALOGUE = "creating a new DuckLake is explicitly disabled"


def exists(location: Location) -> bool:
    """Whether a lake with a SQLite catalogue exists; true for PostgreSQL, where only attaching shows it."""
    if location.is_postgres:
        return True
    try:
        size = location.catalogue.stat().st_size
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LakeError(f"The lake {location.name} cannot be opened: {error.strerror}.") from None
    if not os.access(location.catalogue, os.R_OK):  # SQLite does not report this reason
        raise LakeError(f"The lake {location.name} cannot be opened: Permission denied ({CATALOGUE}).")
    return size > 0


def _make_postgres_schema(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Create the PostgreSQL schema of the catalogue, because DuckLake creates only tables."""
    there = f"select count(*) from information_schema.schemata where schema_name = {literal(location.schema)}"
    make = f"create schema if not exists {identifier(location.schema)}"
    try:
        attach_postgres(con, location, "pg")
        row = fetch_first(con.execute(f"select * from postgres_query('pg', {literal(there)})"))
        if row and not row[0]:
            con.execute(f"call postgres_execute('pg', {literal(make)})")
        con.execute("detach pg")
    except duckdb.Error as error:
        raise LakeError(f"The lake {location.name} cannot be created: {first_line(error)}") from None


@contextlib.contextmanager
def open_writer(location: Location, settings: Settings, *, make: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a lake for writing, upgrading it first; one writer at a time (LakeBusyError).

    Creates a missing lake, unless `make` is false. LakeError if the catalogue does not belong to the data path, because
    maintenance would then remove all files that the catalogue does not list.
    """
    if not make:
        require(location)
    if settings.encrypted:
        encryption.require_private(location)
    if location.folder:
        if not exists(location):
            _require_usable_folder(location)
        try:
            _make_folders(location.folder)
        except OSError as error:
            raise LakeError(
                f"The lake {location.name} cannot be created: {error.strerror}. Choose another --lake."
            ) from None
    with (
        permissions.tighten_umask(),
        locks.hold_lock(location, settings) as holder,
        contextlib.closing(connect(settings, location)) as con,
    ):
        drop_read_copy(location, only_stale=True)
        con.execute("set preserve_insertion_order = false")
        with explain_errors(location):
            _attach_to_write(con, location, settings, make, holder)
            use_threads(con, location, settings, spare=1)
            search_lake_last(con)
        secret.make_secret(con, location)
        try:
            yield con
            _record_files(con, location, settings)
        finally:
            has_changed = data_path.write_mark(con, location)
            renew_read_copy(con, location, has_changed=has_changed)


def _record_files(con: duckdb.DuckDBPyConnection, location: Location, settings: Settings) -> None:
    """Record the checksums of what was written. Never fails: the next writer records what is left over."""
    with contextlib.suppress(duckdb.Error, OSError, LakeError):
        file_records.record_files(con, location, settings)


@contextlib.contextmanager
def explain_errors(location: Location) -> Iterator[None]:
    """Convert DuckDB's errors about a lake (a damaged file, a missing permission, a lost server) to one line."""
    try:
        yield
    except duckdb.Error as error:
        if shortage := explain_shortage(error):
            raise LakeError(f"The lake {location.name} cannot be read. {shortage}") from error
        if damage := explain_damage(error):
            raise LakeError(f"The lake {location.name} cannot be read. {damage}") from error
        raise LakeError(f"The lake {location.name} cannot be read: {first_line(error)}") from error


def require(location: Location) -> None:
    """Raise LakeError if there is no lake, or only its files; for PostgreSQL only attaching shows it."""
    if not exists(location):
        _require_usable_folder(location)
        raise LakeError(
            f"There is no lake at {location.name}. Create one:  chest refresh BUCKET --lake {location.name}"
        )


def _require_usable_folder(location: Location) -> None:
    """Refuse a folder without a catalogue that has the files of a lake, before anything is created in it."""
    with contextlib.closing(open_connection()) as con:
        data_path.require_unused(con, location, data_path.describe_missing(location))


def _attach_to_write(
    con: duckdb.DuckDBPyConnection, location: Location, settings: Settings, make: bool, holder: int | None
) -> None:
    """Attach the lake, creating it if allowed, check that catalogue and data path belong together, and upgrade it."""
    is_new = not _attach_existing(con, location)
    data_path.require_unlinked(location)
    if not is_new and migrations.read_version(con):
        data_path.require_match(con, location)
    else:
        what = "its catalogue is empty" if is_new else "its catalogue has no tables of a lake"
        data_path.require_unused(con, location, what)
        if not make:
            raise LakeError(
                f"There is no lake at {location.name}: {what}. Create one:  chest refresh BUCKET --lake {location.name}"
            )
        if location.is_postgres and location.schema != "public":
            _make_postgres_schema(con, location)
        if is_new:
            attach(con, location, *([encryption.OPTION] if settings.encrypted else []))
    encryption.require_encrypted(con, location, settings)
    if encryption.is_encrypted(con):
        encryption.require_private(location)
    locks.mark_writer(con, holder)
    migrations.upgrade(con, location, transact)


def _attach_existing(con: duckdb.DuckDBPyConnection, location: Location) -> bool:
    """Attach an existing lake; False if the catalogue is not one (a new or empty file or database)."""
    try:
        attach(con, location, "create_if_not_exists false")
    except LakeError as error:
        if _NO_CATALOGUE not in str(error):
            raise
        return False
    return True


def _make_folders(folder: Path) -> None:
    """Create the folders of a lake. A link at data/ is followed only in an existing lake."""
    is_new = not (folder / CATALOGUE).exists()
    files.make_folder(folder / "data", below=folder if is_new else None)


def open_reader(
    location: Location,
    settings: Settings,
    snapshot: int | None = None,
    *,
    unpublished: bool = False,
    memory_mb: int = 0,
) -> tuple[duckdb.DuckDBPyConnection, Snapshot]:
    """Open a lake for reading, pinned at a published snapshot: the newest, or the one requested.

    `unpublished` pins it at the newest of all, which may be incomplete: for inspecting problems.

    Raises LakeError where there is no lake or nothing was published yet, UsageError for a snapshot that is
    unknown or was not published.
    """
    require(location)
    con = connect(settings, location, memory_mb)
    try:
        with explain_errors(location):
            chosen = _attach_to_read(con, location, snapshot, unpublished)
            use_threads(con, location, settings)
        ignore_statistics(con)
    except BaseException:
        con.close()
        raise
    return con, chosen


def _attach_to_read(
    con: duckdb.DuckDBPyConnection, location: Location, snapshot: int | None, unpublished: bool
) -> Snapshot:
    """Attach the lake at the requested snapshot; retried if maintenance has the lake or has expired the snapshot."""
    read_copy = None if unpublished else find_read_copy(location)
    for attempt in range(TRIES):
        try:
            attach(con, location, "read_only", read_copy=read_copy, use=False)
            history = list_snapshots(con)
            # What made the newest snapshot counts. Mostly the one to be read has the same schema: then the catalogue is
            # read once.
            is_alike = has_newest_schema(history, history[-1].number if unpublished else snapshot)
            if not is_alike:
                stored_sql.require_plain(con, location)
                data_path.require_within(con, location)
                prepare_encrypted(con)
                migrations.check_version(con, location)
            chosen = history[-1] if unpublished else find_published(history, snapshot, location)
            # Attached again at the snapshot, so that later commits are never visible.
            con.execute(f"detach {ALIAS}")
            attach(con, location, "read_only", f"snapshot_version {chosen.number}", read_copy=read_copy)
            if is_alike:
                migrations.check_version(con, location)
        except (WarehouseError, duckdb.Error) as error:
            if read_copy:  # a writer may have published since
                con.execute(f"use memory; detach database if exists {ALIAS}")
                read_copy = None
                continue
            if attempt == TRIES - 1 or not any(words in str(error) for words in _PASSING):
                raise
            con.execute(f"use memory; detach database if exists {ALIAS}")
            wait_briefly(attempt)
        else:
            return chosen
    raise AssertionError("unreachable")
