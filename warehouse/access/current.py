"""The log as it is now, for readers whose connection is pinned at a published snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.lake.read_copy import is_current
from warehouse.lake.snapshots import ALIAS, find_catalogue
from warehouse.settings import load_settings

if TYPE_CHECKING:
    import duckdb

    from warehouse.access.log import Event
    from warehouse.lake.location import Location

_SQL = "access/current.sql"


@explain_faults()
def read_current(con: duckdb.DuckDBPyConnection, place: Location) -> list[Event]:
    """Read the whole log over a reader's connection, whatever snapshot that is pinned at; quick where it is empty.

    A reader of a SQLite catalogue has a copy of it: where the lake was written to since, the log is read anew.
    """
    from warehouse.access.log import read_events, to_events

    if not is_current(con, place):
        return read_events(place, load_settings())
    newest = find_newest(con, place)
    if newest is None:
        return []
    events = f"{ALIAS}.access.events at (version => {int(newest)})"
    query = sql_files.fill(sql_files.read_statements(_SQL)["events"], events=events)
    return to_events(fetch_dicts(con.execute(query)))


def may_have_events(con: duckdb.DuckDBPyConnection, place: Location) -> bool:
    """Whether the log has events, or may have: quick for a reader of a lake that has none."""
    return not is_current(con, place) or find_newest(con, place) is not None


@explain_faults()
def find_newest(con: duckdb.DuckDBPyConnection, place: Location) -> int | None:
    """The newest snapshot of all if the log has events, else None; asked whenever rows leave, so little is imported."""
    query = sql_files.fill(sql_files.read_statements(_SQL)["newest"], catalogue=find_catalogue(place))
    found = fetch_first(con.execute(query))
    return int(found[0]) if found and found[0] is not None else None
