"""The sources of a lake: a second one is added only on request, and removed like its objects."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.errors import NotFoundError, UsageError
from warehouse.ingest.context import BucketRun
from warehouse.ingest.listing import list_objects
from warehouse.ingest.publish import Published, publish
from warehouse.object_store.base import Emptied
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb

    from warehouse.query.session import Session

_SQL = "store/sources.sql"


def admit_source(con: duckdb.DuckDBPyConnection, source: str, *, add_source: bool) -> None:
    """Raise UsageError for a source that would be mixed with others without consent, or that is inside one of them."""
    sql = sql_files.read_statements(_SQL)
    if fetch_first(con.execute(sql["known"], {"source": source})):
        return
    others = [name for (name,) in con.execute(sql["others"], {"source": source}).fetchall()]
    for other in others:
        if f"{source}/".startswith(f"{other}/") or f"{other}/".startswith(f"{source}/"):
            raise UsageError(
                f"{source} and {other}, which the lake has, overlap: objects would count twice. "
                f"Refresh {other}, or use another lake."
            )
    if others and not add_source:
        raise UsageError(
            f"The lake does not know {source}; it has {', '.join(others[:3])}{', …' if len(others) > 3 else ''}. "
            "To have both in one lake, add it:  chest refresh … --add-source  If the bucket has only moved, create "
            "another lake, or remove the old source first:  chest source remove SOURCE"
        )


def is_known(source: str, lake_address: str, settings: Settings) -> bool:
    """Whether the lake has objects of a source; false if the lake does not exist yet. The bucket must exist.

    UsageError when `source` is not a bucket, SourceError when it cannot be listed, LakeError when the lake cannot be
    read.
    """
    from warehouse.lake import connection, location, migrations, store
    from warehouse.object_store.opening import open_bucket

    name = open_bucket(source, settings).source
    place = location.parse_address(lake_address)
    if not store.exists(place):
        return False
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        migrations.check_version(con, place)
        return fetch_first(con.execute(sql_files.read_statements(_SQL)["known"], {"source": name})) is not None


@dataclass(frozen=True, slots=True)
class Removed:
    """A removed source, the number of its objects, and what was published."""

    source: str
    objects: int
    published: Published


def list_sources(warehouse: Session) -> list[dict[str, Any]]:
    """Every source of the snapshot: objects, bytes, patients, and when its newest object was written."""
    return fetch_dicts(warehouse.con.execute(sql_files.read_statements(_SQL)["list"]))


def remove_source(
    source: str,
    lake_address: str,
    *,
    allow_removals: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> Removed:
    """Remove a source from the lake and publish: like a refresh of an empty bucket.

    The bucket is not opened. NotFoundError when the lake has no such source, RemovalsError unless `allow_removals`.
    """
    from warehouse.lake import location, store
    from warehouse.settings import load_settings

    settings = settings or load_settings()
    place = location.parse_address(lake_address)
    with store.open_writer(place, settings, make=False) as con:
        if not fetch_first(con.execute(sql_files.read_statements(_SQL)["known"], {"source": source})):
            raise NotFoundError(f"The lake has no source {source}. List them:  chest source list")
        run = BucketRun(con, source, settings, progress=progress, bucket=Emptied(source), place=place)
        counts = list_objects(run, allow_removals)
        return Removed(source, counts.removed, publish(run, allow_removals))
