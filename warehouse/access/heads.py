"""Heads of the log that the lake itself keeps beside it: in its manifests, and in the messages of its commits.

Somebody who removes the last events of the log leaves them there, unless they are altered too.
"""

from __future__ import annotations

import contextlib

from warehouse.access.log import Event, read_rows
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.lake import connection, store
from warehouse.lake.location import Location
from warehouse.settings import Settings

_SQL = "access/log.sql"


def read_with_heads(place: Location, settings: Settings) -> tuple[list[Event], list[str]]:
    """Read the log, and the heads that registered manifests and the commits of the snapshots still there have."""
    store.require(place)
    sql = sql_files.read_statements(_SQL)
    with contextlib.closing(connection.connect(settings, place)) as con, store.explain_errors(place):
        connection.attach(con, place, "read_only")
        infos = [snapshot.info for snapshot in store.list_snapshots(con)]
        commits = [str(info["access"]["head"]) for info in infos if "access" in info]
        has_heads = fetch_first(con.execute(sql["manifests_have_heads"]))
        manifests = [head for (head,) in con.execute(sql["heads_of_manifests"]).fetchall()] if has_heads else []
        return read_rows(con), list(dict.fromkeys([*commits, *manifests]))
