"""Examines what lies around a lake: files that no snapshot lists, temporary files, and who holds the writer's lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from warehouse.engine import sql_files
from warehouse.filesystem import leftovers
from warehouse.lake import locks
from warehouse.lake.doctor.catalogue import SQL
from warehouse.lake.doctor.findings import ASIDE, Finding, Kind
from warehouse.lake.listed_files import ListedFile, shorten
from warehouse.lake.location import Location
from warehouse.lake.snapshots import find_catalogue


def find_orphans(
    con: duckdb.DuckDBPyConnection, location: Location, files: Sequence[ListedFile], stored: dict[str, int]
) -> Iterator[Finding]:
    """The Parquet files that neither a snapshot lists nor maintenance is about to remove."""
    query = sql_files.fill(sql_files.read_statements(SQL)["waiting"], catalogue=find_catalogue(location))
    waiting = {shorten(location, path) for (path,) in con.execute(query).fetchall()}
    known = {file.path for file in files} | waiting
    for name, size in sorted(stored.items()):
        if name.endswith(".parquet") and name not in known:
            what = f"No snapshot lists this file ({size:,} bytes): a writer died before its commit, or is at work."
            yield Finding(Kind.ORPHAN, name, what, "Remove it:  chest doctor --repair")
        elif name.endswith(ASIDE) and name.removesuffix(ASIDE) not in known:
            what = f"A repair has set this damaged file aside ({size:,} bytes), and no snapshot needs it any more."
            yield Finding(Kind.ORPHAN, name, what, "Remove it:  chest doctor --repair")


def list_temporary_places(location: Location) -> list[str]:
    """The folders of a lake where this tool puts temporary files. Those in the system's temporary folder, every command
    removes at its start."""
    places = []
    if location.folder:
        places.append(str(location.folder))
    if "://" not in location.data_path:
        places.append(location.data_path.rstrip("/"))
    return places


def find_leftovers(location: Location) -> list[Finding]:
    """Temporary files and folders of processes that have ended."""
    do = "Remove it:  chest doctor --repair"
    return [
        Finding(Kind.LEFTOVER, path, "A process that has ended left it behind.", do)
        for place in list_temporary_places(location)
        for path in leftovers.find_dead(place)
    ]


def describe_lock(con: duckdb.DuckDBPyConnection | None, location: Location) -> str:
    """Who holds the writer's lock, in one line; "" if nobody does, or if that cannot be known.

    The lock of a folder goes with the process that holds it, that of PostgreSQL with its connection, which a machine
    that was cut off may leave open for hours.
    """
    if not location.is_postgres:
        holders = _find_file_holders(location)
        if not holders:
            return ""
        names = " and ".join(f"process {pid}" if pid > 0 else "a process of another container" for pid in holders)
        return f"{names} is writing to the lake, so its newest files are not examined as orphans."
    if con is None:
        return ""
    with contextlib.suppress(duckdb.Error):
        for pid, client, since in locks.list_postgres_holders(con, location):
            return (
                f"Backend {pid} of PostgreSQL (client {client}, since {since}) holds the writer's lock. If no refresh "
                f"runs there any more, end it:  select pg_terminate_backend({pid})"
            )
    return ""


def _find_file_holders(location: Location) -> list[int]:
    """The processes with a lock on the file of the writer's lock, as Linux lists them; [] where it does not."""
    assert location.folder is not None
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = (location.folder / "writer.lock").stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        rows = [line.split() for line in lines if "FLOCK" in line and "->" not in line]
        return [int(row[4]) for row in rows if int(row[5].split(":")[2]) == inode]
    return []
