"""Hides withdrawn patients from a reader, at every snapshot, until a refresh has removed them or a purge has.

The reader gets a copy of the catalogue of its own, with delete files of its own: in these, the rows of the patients are
deleted since the beginning. So every table and view, at the snapshot that is read and at any other, is without them,
and nothing of the lake changes. A snapshot that was published without them is read as it is, which costs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.filesystem import files
from warehouse.lake import optimisers, store
from warehouse.withdrawal import rows, standing_list, stored
from warehouse.withdrawal.digests import open_key

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.withdrawal.stored import DataFile, DeleteFile

_SQL = "withdrawal/hiding.sql"
#: The name under which the copy is attached while it is filled.
_COPY = "hidden"


def hide_withdrawn(
    con: duckdb.DuckDBPyConnection, location: Location, snapshot: store.Snapshot, *, with_history: bool = False
) -> tuple[int, str | None]:
    """Attach the lake anew without the rows of withdrawn patients, if the snapshot that `con` reads has any.

    If the snapshot that is read has any; `with_history`, if any snapshot has. Returns the version of the standing list,
    and the folder with the copy of the catalogue and the delete files, which goes with the process, because cursors
    and answers need it; None if the lake stays attached as it is. LakeError if the patients cannot be
    recognised for lack of the lake's key.
    """
    history = store.list_snapshots(con)
    version = standing_list.find_version(history)
    if standing_list.is_applied(history, history[0].number if with_history else snapshot.number):
        return version, None
    digests, checks = standing_list.list_excluded(con)
    if not digests:
        return version, None
    catalogue = store.find_catalogue(location)
    key = open_key(con, location, checks)
    data_files = stored.list_data_files(con, location, catalogue)
    found = rows.find_rows(con, data_files, rows.find_names(con, data_files, key, digests))
    if not found.rows:
        return version, None
    folder = files.make_temporary_folder()
    deletes = stored.list_delete_files(con, location, catalogue)
    _copy_catalogue(con, location, catalogue, folder)
    _delete_rows(con, found, data_files, deletes, folder)
    _attach_copy(con, location, folder, snapshot)
    return version, folder


def is_history_clean(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether no snapshot of the attached lake has rows of anybody on the standing list, as far as is known."""
    history = store.list_snapshots(con)
    if standing_list.is_applied(history, history[0].number):
        return True
    excluded = (entry for entry in standing_list.read_entries(con) if entry.is_excluded)
    return all(entry.is_purged and not entry.is_purge_due for entry in excluded)


def _find_file(folder: str) -> str:
    return str(Path(folder) / "catalogue.duckdb")


def _attach(con: duckdb.DuckDBPyConnection, location: Location, folder: str, name: str, *options: str) -> None:
    words = [f"data_path {sql_files.literal(location.data_path)}", "override_data_path true", *options]
    path = sql_files.literal(f"ducklake:duckdb:{_find_file(folder)}")
    con.execute(f"attach {path} as {sql_files.identifier(name)} ({', '.join(words)})")


def _copy_catalogue(con: duckdb.DuckDBPyConnection, location: Location, catalogue: str, folder: str) -> None:
    """Make a catalogue of DuckLake's own tables in a file, and fill it from the lake's in one transaction."""
    _attach(con, location, folder, _COPY)  # makes the tables
    con.execute(f"detach {_COPY}")
    con.execute(f"attach {sql_files.literal(_find_file(folder))} as {_COPY}")
    sql = sql_files.read_statements(_SQL)
    tables = [sql_files.identifier(name) for (name,) in con.execute(sql["tables"]).fetchall()]
    con.execute("begin")
    for table in tables:
        con.execute(sql_files.fill(sql["clear"], table=table))
        con.execute(sql_files.fill(sql["fill"], table=table, catalogue=catalogue))
    con.execute("commit")
    if location.is_postgres and location.schema != "main":  # where our own queries look for these tables
        schema = sql_files.identifier(location.schema)
        con.execute(sql_files.fill(sql["schema"], schema=schema))
        for table in tables:
            con.execute(sql_files.fill(sql["view"], schema=schema, table=table))


def _delete_rows(
    con: duckdb.DuckDBPyConnection,
    found: rows.Found,
    data_files: list[DataFile],
    deletes: list[DeleteFile],
    folder: str,
) -> None:
    """Write one delete file for each data file with rows of the patients, and name it in the copy instead of others."""
    earlier: dict[int, list[DeleteFile]] = defaultdict(list)
    for delete in deletes:
        earlier[delete.file_id].append(delete)
    by_id = {file.file_id: file for file in data_files}
    next_id = max((delete.delete_id for delete in deletes), default=0) + max(by_id, default=0) + 1
    sql = sql_files.read_statements(_SQL)
    for place, (file_id, positions) in enumerate(found.rows.items()):
        file, others = by_id[file_id], earlier[file_id]
        target = str(Path(folder) / f"{file_id}-delete.parquet")
        query = _render_deletes(con, file, positions, others, target)
        (written,) = con.execute(query).fetchall()
        con.execute(sql["forget"], {"file_id": file_id})
        values: dict[str, Any] = {
            "delete_id": next_id + place,
            "file_id": file_id,
            "path": target,
            "key": file.encryption_key,
            "delete_count": written[1],
            "file_size": written[2],
            "footer_size": written[3],
            "partial_max": max([file.begin_snapshot, *(d.partial_max or d.begin_snapshot for d in others)]),
        }
        con.execute(sql["insert"], values)


def _render_deletes(
    con: duckdb.DuckDBPyConnection, file: DataFile, positions: list[int], others: list[DeleteFile], target: str
) -> str:
    sql = sql_files.read_statements(_SQL)
    earlier = ""
    for delete in others:
        scan = stored.render_scan([delete])
        has_own = "_ducklake_internal_snapshot_id" in con.sql(f"from {scan}").columns
        since = "_ducklake_internal_snapshot_id" if has_own else str(delete.begin_snapshot)
        earlier += sql_files.fill(sql["earlier"], since=since, scan=scan) + "\n"
    return sql_files.fill(
        sql["deletes"],
        path=sql_files.literal(file.path),
        positions=str(positions),
        begin=str(file.begin_snapshot),
        earlier=earlier,
        target=sql_files.literal(target),
        encryption=stored.render_encryption(file.encryption_key),
    )


def _attach_copy(con: duckdb.DuckDBPyConnection, location: Location, folder: str, snapshot: store.Snapshot) -> None:
    con.execute(f"use memory; detach {store.ALIAS}; detach {_COPY}")
    _attach(con, location, folder, store.ALIAS, "read_only", f"snapshot_version {int(snapshot.number)}")
    con.execute(f"use {store.ALIAS}")
    optimisers.ignore_statistics(con)
