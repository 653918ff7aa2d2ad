"""Opens DuckDB connections for a lake: extensions, credentials, limits; and attaches the lake."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import duckdb

from warehouse.engine import spill
from warehouse.engine.connections import open_connection
from warehouse.engine.messages import explain_shortage, first_line
from warehouse.engine.sql_files import literal
from warehouse.errors import LakeError
from warehouse.lake import data_path, encryption, journals, optimisers, stored_sql
from warehouse.lake.location import CATALOGUE, READ_COPY, Location
from warehouse.lake.snapshots import ALIAS, SCHEMAS
from warehouse.settings import Settings

#: The secret with the login of a PostgreSQL catalogue. In an attach string it would appear in DuckDB's errors, and in
#: its list of databases.
_CATALOGUE_SECRET = "lake_catalogue"  # noqa: S105 (a name)
#: The name of a catalogue in PostgreSQL while it is examined.
_EXAMINED = "examined"
#: What DuckDB's package httpfs opens addresses with, besides those of S3.
_NETWORK = ("HTTPFileSystem", "HuggingFaceFileSystem")
#: Memory of DuckDB in a refresh (measured: the process as a whole stays under 1 GiB).
WRITER_MB = 320
#: How long a statement waits for a SQLite catalogue that another connection has locked, in milliseconds.
BUSY_MS = 30_000
#: SQLite's messages for a truncated or overwritten catalogue.
_DAMAGED = ("is malformed", "is not a database", "disk I/O error")
#: SQLite's message for a catalogue that is opened to read, and whose last commit must be rolled back first.
_ROLLBACK_DUE = "attempt to write a readonly database"


def connect(settings: Settings, location: Location, memory_mb: int = WRITER_MB) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection with the extensions and limits that a lake needs; nothing attached yet.

    It has one thread until `use_threads`: on the many small queries that open a lake, others wait, and that busily.
    `memory_mb` applies if CHEST_MEMORY_LIMIT_MB is not set; 0 is DuckDB's default: most of the memory, then disk.
    """
    if not location.is_postgres:
        for name in (CATALOGUE, READ_COPY):
            journals.require_own_files(location.catalogue.with_name(name))
    limit = settings.memory_limit_mb or memory_mb
    config = {"memory_limit": f"{limit}MB"} if limit else {}
    con = open_connection({**config, "allow_unsigned_extensions": "true", "threads": "1"})
    con.execute("set TimeZone = 'UTC'")
    optimisers.disable(con)
    con.execute("set python_enable_replacements = false")  # no view of a lake reads variables of this program
    con.execute(f"set temp_directory = {literal(spill.find_spill_folder())}")
    extensions = ["ducklake", "postgres_scanner" if location.is_postgres else "sqlite_scanner"]
    if location.data_path.startswith("s3://"):
        extensions.append("httpfs")
    # Packages first: DuckDB would hash each of their files (35 MB) for its signature, on every connection. pip has
    # verified the hashes of the packages, as of DuckDB itself, which has no signature.
    missing = [name for name in extensions if not _load_package(con, name)]
    # A millisecond; only the attached lake shows whether it is encrypted, and then loading takes seventy.
    _load_package(con, encryption.CIPHERS)
    con.execute("set allow_unsigned_extensions = false")  # cannot be undone in DuckDB
    for name in missing:
        load_extension(con, name)
    # No request to an address in the lake's rows, whatever they hold. Nor can this be undone.
    others = _NETWORK if location.data_path.startswith("s3://") else (*_NETWORK, "S3FileSystem")
    con.execute(f"set disabled_filesystems = {literal(','.join(others))}")
    if location.data_path.startswith("s3://"):
        _create_s3_secret(con, location.data_path)
    if location.is_postgres:
        words = "".join(f", {name} {literal(value)}" for name, value in location.login.items())
        con.execute(f"create or replace secret {_CATALOGUE_SECRET} (type postgres{words})")
    return con


def use_threads(con: duckdb.DuckDBPyConnection, location: Location, settings: Settings, spare: int = 0) -> None:
    """Let queries of an attached lake use the threads of the settings; without any, all cores but so many.

    It stays at one where DuckDB would lose a row of the catalogue otherwise.
    """
    if location.is_postgres or not stored_sql.may_lose_rows(con):
        con.execute(f"set threads = {settings.threads or max(1, (os.cpu_count() or 2) - spare)}")


def search_lake_last(con: duckdb.DuckDBPyConnection) -> None:
    """Have names without a schema looked up in DuckDB itself before the attached lake; for a writer, once the lake is
    upgraded.

    A statement that names a function would otherwise look for it in the lake first, and with it read the newest
    snapshot from the catalogue, even if it concerns nothing but a temporary table or a setting. That was a third of
    what a refresh of a few objects asked the catalogue. What is made in no schema is temporary, or an error.
    """
    con.execute(f"set search_path = '{','.join(('system.main', *(f'{ALIAS}.{name}' for name in SCHEMAS)))}'")


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension from its PyPI package, offline; without one, by DuckDB's own INSTALL."""
    if _load_package(con, name):
        return
    try:
        con.install_extension(name)
        con.load_extension(name)
    except duckdb.Error as error:
        raise LakeError(
            f"DuckDB's extension {name} is not installed as a package and could not be downloaded "
            f"({first_line(error)}). "
            f"Install it:  pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        ) from None


def _load_package(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Load an extension from its PyPI package; False if it is not installed."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if not spec or not spec.submodule_search_locations:
        return False
    folder = Path(spec.submodule_search_locations[0]) / "extensions" / f"v{duckdb.__version__}"
    file = folder / f"{name}.duckdb_extension"
    if file.exists():
        con.load_extension(str(file))
    return file.exists()


def _create_s3_secret(con: duckdb.DuckDBPyConnection, data_path: str) -> None:
    """Give DuckDB the credentials that boto3 finds, for a lake whose Parquet files are on S3."""
    from warehouse import aws

    session = aws.create_session()
    frozen = aws.find_credentials(session, data_path)
    if frozen is None:
        raise LakeError(f"No AWS credentials for {data_path}. Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in.")
    options = {
        "key_id": frozen.access_key,
        "secret": frozen.secret_key,
        "session_token": frozen.token,
        "region": session.region_name or "us-east-1",
    }
    if url := aws.find_endpoint(session):
        scheme, _, host = url.partition("://")
        options |= {
            "endpoint": host.rpartition("@")[2].rstrip("/"),  # S3 has no logins except keys
            "url_style": "path",
            "use_ssl": str(scheme == "https").lower(),
        }
    if bundle := aws.find_ca_bundle(session):
        con.execute(f"set ca_cert_file = {literal(bundle)}")
        con.execute("set enable_server_cert_verification = true")
    words = ", ".join(f"{name} {literal(str(value))}" for name, value in options.items() if value)
    con.execute(f"create or replace secret lake_data (type s3, {words})")


def attach(
    con: duckdb.DuckDBPyConnection,
    location: Location,
    *options: str,
    read_copy: Path | None = None,
    use: bool = True,
) -> None:
    """Attach the lake and `USE` it, which reads its catalogue; LakeError gives the reason if that fails.

    With `read_copy`, by the readers' copy of its catalogue (read_copy.py). Without `use` nothing of the catalogue is
    read yet, so that it may be attached again at another snapshot: rows need `stored_sql.require_plain`,
    `data_path.require_within` and `prepare_encrypted` first.
    """
    words = [f"data_path {literal(location.data_path)}", "data_inlining_row_limit 0", *options]
    if location.is_postgres:
        words += [f"meta_schema {literal(location.schema)}", f"meta_secret {literal(_CATALOGUE_SECRET)}"]
    else:
        # The data of such a lake are beside its catalogue, wherever its folder was moved or copied to.
        words += [f"meta_busy_timeout {BUSY_MS}", "override_data_path true"]
    try:
        address = f"ducklake:sqlite:{read_copy}" if read_copy else location.attach_uri
        statement = f"attach {literal(address)} as {ALIAS} ({', '.join(words)})"
        catalogue = None if location.is_postgres else read_copy or location.catalogue
        try:
            if location.is_postgres:
                _examine_postgres(con, location)
            _attach_tables(con, catalogue, statement)
        except duckdb.Error as error:
            if _ROLLBACK_DUE not in str(error) or read_copy or location.is_postgres:
                raise
            _roll_back(con, location)
            _attach_tables(con, catalogue, statement)
        if use:
            con.execute(f"use {ALIAS}")
            stored_sql.require_plain(con, location)
            data_path.require_within(con, location)
            prepare_encrypted(con)
    except duckdb.Error as error:
        if shortage := explain_shortage(error):
            raise LakeError(f"The lake {location.name} cannot be opened. {shortage}") from None
        advice = f" {data_path.EXAMINE}" if any(words in str(error) for words in _DAMAGED) else ""
        raise LakeError(
            f"The lake {location.name} cannot be opened: {first_line(error).rstrip('. ')}.{advice}"
        ) from None


def _attach_tables(con: duckdb.DuckDBPyConnection, catalogue: Path | None, statement: str) -> None:
    """Attach a catalogue that has nothing but tables; None is one in PostgreSQL, which is examined by itself."""
    if catalogue:
        stored_sql.require_tables(con, catalogue, BUSY_MS)
    con.execute(statement)


def attach_sqlite(con: duckdb.DuckDBPyConnection, catalogue: Path, name: str, *options: str) -> None:
    """Attach a SQLite catalogue as a plain database; LakeError if it has more than tables, duckdb.Error if it cannot be
    read."""
    words = ", ".join(("type sqlite", *options))
    _attach_tables(con, catalogue, f"attach {literal(str(catalogue))} as {name} ({words})")


def _roll_back(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Have SQLite roll back the commit within which a writer died; LakeError if this user may not.

    SQLite does so, under its own locks, when somebody reads who may write.
    """
    try:
        con.execute(f"attach {literal(str(location.catalogue))} as died (type sqlite)")
        try:
            con.execute("from sqlite_query('died', 'select count(*) from sqlite_master')").fetchall()
        finally:
            con.execute("detach died")
    except duckdb.Error as error:
        raise LakeError(
            f"The lake {location.name} cannot be opened: a writer died within a commit, which only those who may write "
            f"can roll back ({first_line(error).rstrip('. ')}). Ask one of them to run:  chest status"
        ) from None


def prepare_encrypted(con: duckdb.DuckDBPyConnection) -> None:
    """Load the ciphers if the attached lake is encrypted, and encrypt what spills; reads the catalogue."""
    if encryption.is_encrypted(con):
        load_extension(con, encryption.CIPHERS)
        encryption.protect_spill(con)


def attach_postgres(con: duckdb.DuckDBPyConnection, location: Location, name: str) -> None:
    """Attach a catalogue in PostgreSQL as a plain database; LakeError if it has more than tables, duckdb.Error if it
    cannot be reached."""
    con.execute(f"attach {literal(location.postgres or '')} as {name} (type postgres, secret {_CATALOGUE_SECRET})")
    stored_sql.require_relations(con, location, name)


def _examine_postgres(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Look at what a catalogue in PostgreSQL has, before DuckLake reads any of it."""
    try:
        attach_postgres(con, location, _EXAMINED)
    finally:
        con.execute(f"detach database if exists {_EXAMINED}")
