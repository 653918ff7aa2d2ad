"""Lakes whose Parquet files are encrypted (DuckLake's ENCRYPTED): a choice when a lake is made, kept in its catalogue.

DuckLake gives each file a key of its own, and the catalogue holds them all: who can read the catalogue can read the
files. It also holds the least and greatest values of columns, which name patients. So what is encrypted is protected
from those who see the files without the catalogue: whoever runs the bucket or the disk, or copies them.
"""

from __future__ import annotations

import stat

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import UsageError
from warehouse.lake.location import CATALOGUE, Location
from warehouse.lake.snapshots import find_catalogue
from warehouse.settings import ENCRYPTED_VARIABLE, SHARE_VARIABLE, Settings, load_share

_SQL = "store/encryption.sql"
#: DuckDB's package with OpenSSL's ciphers: its own writes nothing encrypted, and reads slowly.
CIPHERS = "httpfs"
#: The option of ATTACH that makes a new lake encrypted.
OPTION = "encrypted true"


def is_encrypted(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the files of the attached lake are encrypted."""
    return read_setting(con, "encrypted") == "true"


def read_setting(con: duckdb.DuckDBPyConnection, key: str) -> str | None:
    """A setting of the whole lake, from the catalogue; None where it is not set."""
    row = fetch_first(con.execute(sql_files.read_statements(_SQL)["setting"], {"key": key}))
    return str(row[0]) if row else None


def add_setting(con: duckdb.DuckDBPyConnection, location: Location, key: str, value: str) -> None:
    """Add a setting of the whole lake to the catalogue; for a writer, outside of a transaction."""
    con.execute(_render("add", location), {"key": key, "value": value})


def count_keys(con: duckdb.DuckDBPyConnection, location: Location) -> tuple[int, int]:
    """The data and delete files of all snapshots, and how many of them have a key in the catalogue."""
    row = fetch_first(con.execute(_render("keys", location)))
    assert row is not None
    return int(row[0]), int(row[1])


def protect_spill(con: duckdb.DuckDBPyConnection) -> None:
    """Encrypt what DuckDB spills to disk on this connection: it would be rows of the files, in plain bytes."""
    con.execute("set temp_file_encryption = true")


def require_encrypted(con: duckdb.DuckDBPyConnection, location: Location, settings: Settings) -> None:
    """Raise UsageError if an encrypted lake was asked for and the attached one is not."""
    if settings.encrypted and not is_encrypted(con):
        raise UsageError(
            f"The lake {location.name} is not encrypted: that is chosen when a lake is made. Make another one "
            f"(chest refresh BUCKET --encrypted --lake NEW), or do without --encrypted ({ENCRYPTED_VARIABLE})."
        )


def require_private(location: Location) -> None:
    """Raise UsageError if the catalogue of an encrypted lake, which holds the keys, would be written for everybody."""
    if location.folder and load_share() == "all":
        raise UsageError(
            f"{SHARE_VARIABLE}=all would let everybody on this machine read {CATALOGUE} of {location.name}, which has "
            "the keys of its encrypted files. Set it to group or private."
        )


def describe_keys(location: Location) -> str:
    """Where the keys of an encrypted lake are, and who may read them as far as that can be seen from here."""
    if location.folder is None:
        return f"keys in PostgreSQL (schema {location.schema}), for roles that may read ducklake_data_file"
    mode = location.catalogue.stat().st_mode
    if mode & stat.S_IROTH:
        return f"keys in {CATALOGUE}, WHICH EVERYBODY ON THIS MACHINE CAN READ: chmod o= {location.catalogue}"
    return f"keys in {CATALOGUE}, readable by {'owner and group' if mode & stat.S_IRGRP else 'its owner'}"


def _render(name: str, location: Location) -> str:
    return sql_files.fill(sql_files.read_statements(_SQL)[name], catalogue=find_catalogue(location))
