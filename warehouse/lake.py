"""The lake as storage: attach it to read or to write, commit transactions, name snapshots.

DuckLake's settings and pitfalls are written up in docs/architecture.md. The catalogue file is never opened
but through DuckDB: a second SQLite library in one process would drop its locks.
"""

import contextlib
import getpass
import importlib.util
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb

from warehouse import __version__, data_path, files, locks, permissions, schema, spill
from warehouse.database_errors import explain_shortage
from warehouse.errors import LakeError, UsageError
from warehouse.history import ALIAS, Snapshot, snapshots, waiting
from warehouse.location import CATALOGUE, Location
from warehouse.masking import mask_secrets, mask_within
from warehouse.settings import Settings
from warehouse.sqlfiles import identifier, literal

__all__ = [
    "ALIAS",
    "Snapshot",
    "attach",
    "attach_postgres",
    "author",
    "connect",
    "exists",
    "first_line",
    "ignore_statistics",
    "reader",
    "require",
    "snapshots",
    "transact",
    "waiting",
    "writer",
]

T = TypeVar("T")

#: The login of a PostgreSQL catalogue on a connection. In an attach string it would stand in DuckDB's errors, and in
#: its list of databases.
_CATALOGUE_SECRET = "lake_catalogue"  # noqa: S105 (a name)
#: Memory of DuckDB in a refresh (measured: the process as a whole stays under 1 GiB).
WRITER_MB = 320

_TRIES = 8
#: How SQLite says that a catalogue is cut, or overwritten.
_DAMAGED = ("is malformed", "is not a database", "disk I/O error")
#: What a reader meets while upkeep lets snapshots go: it tries again.
_PASSING = ("No snapshot found", "database is locked")
#: How DuckLake says that a database is no catalogue of its own yet.
_NO_CATALOGUE = "creating a new DuckLake is explicitly disabled"
_BUSY = ("database is locked", "Transaction conflict", "could not serialize access", "deadlock detected")


def connect(settings: Settings, location: Location, memory_mb: int = WRITER_MB) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection with the extensions and limits that a lake needs; nothing attached yet.

    `memory_mb` holds where CHEST_MEMORY_LIMIT_MB says nothing; 0 is DuckDB's own: most of the machine's, then disk.
    """
    limit = settings.memory_limit_mb or memory_mb
    con = duckdb.connect(config={"memory_limit": f"{limit}MB"} if limit else {})
    con.execute("set TimeZone = 'UTC'")
    con.execute(f"set temp_directory = {literal(spill.folder())}")
    if settings.threads:
        con.execute("set threads = $threads", {"threads": settings.threads})
    extensions = ["ducklake", "postgres_scanner" if location.is_postgres else "sqlite_scanner"]
    if location.data_path.startswith("s3://"):
        extensions.append("httpfs")
    for name in extensions:
        load_extension(con, name)
    if location.data_path.startswith("s3://"):
        _s3_secret(con, location.data_path)
    if location.is_postgres:
        words = "".join(f", {name} {literal(value)}" for name, value in location.login.items())
        con.execute(f"create or replace secret {_CATALOGUE_SECRET} (type postgres{words})")
    return con


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension from its PyPI package, offline; without one, by DuckDB's own INSTALL."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "extensions" / f"v{duckdb.__version__}"
        if (file := folder / f"{name}.duckdb_extension").exists():
            con.load_extension(str(file))
            return
    try:
        con.install_extension(name)
        con.load_extension(name)
    except duckdb.Error as error:
        raise LakeError(
            f"DuckDB's extension {name} is neither in a package nor to be downloaded ({first_line(error)}). "
            f"Install it:  pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        ) from None


def _s3_secret(con: duckdb.DuckDBPyConnection, data_path: str) -> None:
    """Give DuckDB the credentials that boto3 finds, for a lake whose Parquet files lie on S3."""
    from warehouse import aws
    from warehouse.bucket import endpoint

    session = aws.session()
    frozen = aws.credentials(session, data_path)
    if frozen is None:
        raise LakeError(f"No AWS credentials for {data_path}. Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in.")
    options = {
        "key_id": frozen.access_key,
        "secret": frozen.secret_key,
        "session_token": frozen.token,
        "region": session.region_name or "us-east-1",
    }
    if url := endpoint(session):
        scheme, _, host = url.partition("://")
        options |= {
            "endpoint": host.rpartition("@")[2].rstrip("/"),  # S3 knows no login but the keys
            "url_style": "path",
            "use_ssl": str(scheme == "https").lower(),
        }
    if bundle := aws.ca_bundle(session):
        con.execute(f"set ca_cert_file = {literal(bundle)}")
        con.execute("set enable_server_cert_verification = true")
    words = ", ".join(f"{name} {literal(str(value))}" for name, value in options.items() if value)
    con.execute(f"create or replace secret lake_data (type s3, {words})")


def exists(location: Location) -> bool:
    """Whether a lake with a SQLite catalogue is there; of one in PostgreSQL only attaching tells."""
    try:
        return location.is_postgres or location.catalogue.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LakeError(f"The lake {location.name} cannot be opened: {error.strerror}.") from None


def attach(con: duckdb.DuckDBPyConnection, location: Location, *options: str) -> None:
    """Attach the lake and `USE` it; LakeError says what is in the way."""
    words = [f"data_path {literal(location.data_path)}", "data_inlining_row_limit 0", *options]
    if location.is_postgres:
        words += [f"meta_schema {literal(location.schema)}", f"meta_secret {literal(_CATALOGUE_SECRET)}"]
    else:
        # The data of such a lake lie beside its catalogue, wherever its folder was moved or copied to.
        words += ["meta_busy_timeout 10000", "override_data_path true"]
    try:
        con.execute(f"attach {literal(location.attach_uri)} as {ALIAS} ({', '.join(words)})")
        con.execute(f"use {ALIAS}")
    except duckdb.Error as error:
        if shortage := explain_shortage(error):
            raise LakeError(f"The lake {location.name} cannot be opened. {shortage}") from None
        advice = f" {data_path.RESTORE}." if any(words in str(error) for words in _DAMAGED) else ""
        raise LakeError(
            f"The lake {location.name} cannot be opened: {first_line(error).rstrip('. ')}.{advice}"
        ) from None


def attach_postgres(con: duckdb.DuckDBPyConnection, location: Location, name: str) -> None:
    """Attach a catalogue in PostgreSQL as a plain database; duckdb.Error when it cannot be reached."""
    con.execute(f"attach {literal(location.postgres or '')} as {name} (type postgres, secret {_CATALOGUE_SECRET})")


def _make_postgres_schema(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Make the PostgreSQL schema that the catalogue goes in: DuckLake makes tables only."""
    there = f"select count(*) from information_schema.schemata where schema_name = {literal(location.schema)}"
    make = f"create schema if not exists {identifier(location.schema)}"
    try:
        attach_postgres(con, location, "pg")
        row = con.execute(f"select * from postgres_query('pg', {literal(there)})").fetchone()
        if row and not row[0]:
            con.execute(f"call postgres_execute('pg', {literal(make)})")
        con.execute("detach pg")
    except duckdb.Error as error:
        raise LakeError(f"The lake {location.name} cannot be made: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """What an error says first, without secrets."""
    return mask_secrets(str(error).strip().split("\n")[0])


@contextlib.contextmanager
def writer(location: Location, settings: Settings, *, make: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a lake to write, upgrading it first; one writer at a time (LakeBusyError).

    Where there is none it is made, unless `make` is false. LakeError when its catalogue is not that of its data path:
    what a writer takes for a new lake, or for an older one, upkeep empties of all that it does not know.
    """
    if not make:
        require(location)
    if location.folder:
        if not exists(location):
            _admit_new_folder(location)
        try:
            _make_folders(location.folder)
        except OSError as error:
            raise LakeError(
                f"The lake {location.name} cannot be made: {error.strerror}. Choose another --lake."
            ) from None
    with (
        permissions.umask_tightened(),
        locks.held(location, settings),
        contextlib.closing(connect(settings, location)) as con,
    ):
        con.execute("set preserve_insertion_order = false")
        con.execute(f"set threads = {settings.threads or max(1, (os.cpu_count() or 2) - 1)}")
        with explained_errors(location):
            _attach_to_write(con, location, make)
        try:
            yield con
        finally:
            data_path.write_mark(con, location)


@contextlib.contextmanager
def explained_errors(location: Location) -> Iterator[None]:
    """Turn DuckDB's errors about a lake (a damaged file, a right that is missing, a server that went) into one line."""
    try:
        yield
    except duckdb.Error as error:
        if shortage := explain_shortage(error):
            raise LakeError(f"The lake {location.name} cannot be read. {shortage}") from error
        raise LakeError(f"The lake {location.name} cannot be read: {first_line(error)}") from error


def require(location: Location) -> None:
    """Raise LakeError where there is no lake, or only the files of one; of one in PostgreSQL only attaching tells."""
    if not exists(location):
        _admit_new_folder(location)
        raise LakeError(f"There is no lake at {location.name}. Make one:  chest refresh BUCKET --lake {location.name}")


def _admit_new_folder(location: Location) -> None:
    """Before anything is made in a folder without a catalogue: refuse one that has the files of a lake."""
    with contextlib.closing(duckdb.connect()) as con:
        data_path.require_unused(con, location, data_path.describe_missing(location))


def _attach_to_write(con: duckdb.DuckDBPyConnection, location: Location, make: bool) -> None:
    """Attach the lake, made where it is to be made, when catalogue and data path belong together; and upgrade it."""
    is_new = not _attach_existing(con, location)
    if not is_new and schema.version(con):
        data_path.require_match(con, location)
    else:
        what = "its catalogue is empty" if is_new else "its catalogue has no tables of a lake"
        data_path.require_unused(con, location, what)
        if not make:
            raise LakeError(
                f"There is no lake at {location.name}: {what}. Make one:  chest refresh BUCKET --lake {location.name}"
            )
        if location.is_postgres and location.schema != "public":
            _make_postgres_schema(con, location)
        if is_new:
            attach(con, location)
    schema.upgrade(con, location, transact)


def _attach_existing(con: duckdb.DuckDBPyConnection, location: Location) -> bool:
    """Attach a lake that is there; False when the catalogue is none (a new file or database, or an empty one)."""
    try:
        attach(con, location, "create_if_not_exists false")
    except LakeError as error:
        if _NO_CATALOGUE not in str(error):
            raise
        return False
    return True


def _make_folders(folder: Path) -> None:
    """Make the folders of a lake. Those of a new one are folders: a link at data/ is followed where a lake stands."""
    is_new = not (folder / CATALOGUE).exists()
    files.make_folder(folder / "data", below=folder if is_new else None)


def reader(
    location: Location,
    settings: Settings,
    snapshot: int | None = None,
    *,
    unpublished: bool = False,
    memory_mb: int = 0,
) -> tuple[duckdb.DuckDBPyConnection, Snapshot]:
    """Open a lake to read, pinned at a published snapshot: the newest, or the one asked for.

    `unpublished` pins it at the newest of all, which may be half a refresh: for those who look into what is wrong.

    Raises LakeError where there is no lake or nothing was published yet, UsageError for a snapshot that is
    unknown or was not published.
    """
    require(location)
    con = connect(settings, location, memory_mb)
    try:
        with explained_errors(location):
            chosen = _attach_to_read(con, location, snapshot, unpublished)
        ignore_statistics(con)
    except BaseException:
        con.close()
        raise
    return con, chosen


def _attach_to_read(
    con: duckdb.DuckDBPyConnection, location: Location, snapshot: int | None, unpublished: bool
) -> Snapshot:
    """Attach the lake at the snapshot asked for, again where upkeep took it away in between."""
    for attempt in range(_TRIES):
        attach(con, location, "read_only")
        schema.check_version(con, location)
        history = snapshots(con)
        chosen = history[-1] if unpublished else _choose(history, snapshot, location)
        # Attached anew at the snapshot, so that no later commit is ever seen.
        con.execute(f"use memory; detach {ALIAS}")
        try:
            attach(con, location, "read_only", f"snapshot_version {chosen.number}")
        except LakeError as error:
            if attempt == _TRIES - 1 or not any(words in str(error) for words in _PASSING):
                raise
            _wait(attempt)
        else:
            return chosen
    raise AssertionError("unreachable")


def _wait(attempt: int) -> None:
    """A moment longer each time, of uneven length."""
    time.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2**attempt, 2.0))  # noqa: S311 - jitter


def ignore_statistics(con: duckdb.DuckDBPyConnection) -> None:
    """Let nothing on this connection be optimised by column statistics; for whoever reads an older snapshot.

    DuckLake 1.5.5 has one set of them, that of the newest snapshot, and rewriting files narrows it. An older snapshot
    read by it loses rows and digits (ducklake issue 1377, mended after 1.5.5). Files are pruned all the same.
    """
    con.execute("set disabled_optimizers = 'statistics_propagation'")


@contextlib.contextmanager
def statistics_ignored(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The same for a `with` block, in which a writer looks back."""
    ignore_statistics(con)
    try:
        yield
    finally:
        con.execute("reset disabled_optimizers")


def _choose(history: list[Snapshot], wanted: int | None, location: Location) -> Snapshot:
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
            f"Snapshot {wanted} of {location.name} is gone: upkeep keeps those published in the last days and those of "
            "registered manifests (chest upkeep --help). "
            f"Published are: {_shown(published)}."
        )
    raise UsageError(
        f"Snapshot {wanted} is not a published snapshot of {location.name}. Published are: {_shown(published)}."
    )


def _shown(published: list[Snapshot]) -> str:
    numbers = [str(s.number) for s in published]
    return ", ".join(numbers if len(numbers) <= 8 else [*numbers[:3], "…", *numbers[-4:]])


def transact(
    con: duckdb.DuckDBPyConnection, message: str, work: Callable[[], T], *, tries: int = _TRIES, **info: object
) -> T:
    """Do `work` in one transaction whose snapshot carries the message and info; retried while the catalogue is busy.

    `work` may run several times, so it must do nothing outside the lake. Returns what it returns.
    """
    for attempt in range(tries):
        try:
            con.execute("begin")
            result = work()
            con.execute(
                f"call {ALIAS}.set_commit_message($author, $message, extra_info => $info)",
                {
                    "author": author(),
                    "message": mask_secrets(message),
                    "info": json.dumps({"tool": __version__, **mask_within(info)}),
                },
            )
            con.execute("commit")
        except BaseException as error:
            # After any failed statement the connection may be in an aborted transaction.
            with contextlib.suppress(duckdb.Error):
                con.execute("rollback")
            if not isinstance(error, duckdb.Error):
                raise
            if attempt == tries - 1 or not any(word in str(error) for word in _BUSY):
                raise _explained(error) from error
            _wait(attempt)
        else:
            return result
    raise AssertionError("unreachable")


def _explained(error: duckdb.Error) -> Exception:
    """A problem outside the program as a LakeError; anything else as it is."""
    if shortage := explain_shortage(error):
        return LakeError(f"The lake could not be written. {shortage} What was committed before is safe; run it again.")
    if isinstance(error, duckdb.IOException) or any(w in str(error) for w in _BUSY):
        return LakeError(
            f"The lake could not be written: {first_line(error)}. What was committed before is safe; run it again."
        )
    return error


def author() -> str:
    """Who commits: the name of the operating system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
