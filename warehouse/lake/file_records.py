"""The checksums of the lake's own Parquet files, recorded in ops.files when they have been written.

`store.open_writer` records at its end, under the writer's lock, every file that the catalogue lists and that has no
record: what was loaded, merged, rewritten, published or registered. Who writes by other means calls `record_files`.

The file of ops.files that a record adds cannot be in it. Its checksum is in the extra info of the commit (`files`), and
in ops.files itself from the next record on. So a refresh without changes commits nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.lake.listed_files import SQL, list_files, shorten
from warehouse.lake.location import Location
from warehouse.lake.snapshots import find_catalogue, parse_info
from warehouse.lake.stored_files import Checksum, Storage, hash_files, open_storage
from warehouse.lake.transactions import transact
from warehouse.settings import Settings, load_settings

#: The table of the records.
TABLE = "ops.files"
#: Where a commit has the checksums of the files of the table itself.
INFO = "files"  # an argument of `transact` below


def record_files(con: duckdb.DuckDBPyConnection, location: Location, settings: Settings | None = None) -> int:
    """Hash every file that the catalogue lists and that has no record, and record it; returns their number.

    `con` has the lake attached to write, holds the writer's lock and is in no transaction. Call it after the commit
    that wrote the files, and before they may be damaged: whatever rewrites files (such as a purge) needs no call of its
    own inside `store.open_writer`, which calls this at its end, and one call where it bypasses that. A file that is
    gone since the catalogue was read is left out. One commit, which publishes nothing; none if all are recorded.
    Raises LakeError if a file cannot be read.
    """
    if _is_recorded(con, location):
        return 0
    storage = open_storage(location, settings or load_settings())
    own, known = read_own_records(con, location), _read_table(con)
    lacking = [file.path for file in list_files(con, location) if file.path not in known]
    if all(path in own for path in lacking):
        return 0
    found = {path: own[path] for path in lacking if path in own}
    for path, checksum in hash_files(storage, (path for path in lacking if path not in own)):
        if checksum:
            found[path] = checksum
    _insert(con, location, storage, found)
    return len(found)


def _is_recorded(con: duckdb.DuckDBPyConnection, location: Location) -> bool:
    """Whether the newest commit is a record: then nothing was written since."""
    query = sql_files.fill(sql_files.read_statements(SQL)["newest_commit"], catalogue=find_catalogue(location))
    row = fetch_first(con.execute(query))
    return bool(row and parse_info(row[0]).get(INFO))


def _insert(con: duckdb.DuckDBPyConnection, location: Location, storage: Storage, found: dict[str, Checksum]) -> None:
    sql = sql_files.read_statements(SQL)
    own: dict[str, list[object]] = {}

    def work() -> None:
        now = add_records(con, found)
        own.clear()
        for (path,) in con.execute(sql["written"], {"recorded_at": now}).fetchall():
            if checksum := storage.hash_file(name := shorten(location, path)):
                own[name] = [checksum.size, checksum.sha256]

    transact(con, f"checksums of {len(found):,} files", work, files=own)


def add_records(con: duckdb.DuckDBPyConnection, found: dict[str, Checksum]) -> datetime:
    """Add the checksums of files to the table within an open transaction; returns the time by which they are found."""
    now = datetime.now(UTC)
    values = {
        "paths": [*found],
        "sizes": [one.size for one in found.values()],
        "digests": [one.sha256 for one in found.values()],
        "recorded_at": now,
    }
    con.execute(sql_files.read_statements(SQL)["insert"], values)
    return now


def read_own_records(con: duckdb.DuckDBPyConnection, location: Location) -> dict[str, Checksum]:
    """The checksums of files of ops.files that commits have recorded; reads no Parquet."""
    query = sql_files.fill(sql_files.read_statements(SQL)["own"], catalogue=find_catalogue(location))
    found: dict[str, Checksum] = {}
    for (text,) in con.execute(query).fetchall():
        files = parse_info(text).get(INFO)
        if isinstance(files, dict):
            found |= {path: Checksum(int(size), str(digest)) for path, (size, digest) in files.items()}
    return found


def _read_table(con: duckdb.DuckDBPyConnection) -> dict[str, Checksum]:
    rows = con.execute(sql_files.read_statements(SQL)["recorded"]).fetchall()
    return {path: Checksum(size, digest) for path, size, digest in rows}


def read_records(con: duckdb.DuckDBPyConnection, location: Location) -> dict[str, Checksum]:
    """All recorded checksums by path; duckdb.Error if ops.files cannot be read. Empty for a lake without the table."""
    own = read_own_records(con, location)
    try:
        return {**own, **_read_table(con)}
    except (duckdb.CatalogException, duckdb.BinderException):  # a lake of an older version
        return own


def read_trusted_records(
    con: duckdb.DuckDBPyConnection, location: Location, storage: Storage | None = None
) -> dict[str, Checksum]:
    """All recorded checksums, if the files of ops.files are those that were written; else only what commits have."""
    own = read_own_records(con, location)
    try:
        records = read_records(con, location)
    except duckdb.Error:
        return own
    storage = storage or open_storage(location, load_settings())
    for file in list_files(con, location):
        is_read = file.table == TABLE and file.is_live and file.path in records
        if is_read and records[file.path] != storage.hash_file(file.path):
            return own
    return records


def forget_vanished(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Delete the records of files that the catalogue no longer lists, for maintenance.

    Left until there are as many as others, because each deletion writes a file.
    """
    paths = [file.path for file in list_files(con, location)]
    vanished = _read_table(con).keys() - set(paths)
    if len(vanished) > len(paths):
        query = sql_files.read_statements(SQL)["vanished"]
        transact(con, "maintenance: checksums", lambda: con.execute(query, {"paths": paths}), files={})
