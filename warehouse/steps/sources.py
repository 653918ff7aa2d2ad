"""Which buckets feed a lake: a second one comes in only when it is asked for, and goes as objects go."""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse import sqlfiles
from warehouse.bucket import Emptied
from warehouse.errors import NotFoundError, UsageError
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings
from warehouse.steps import run as runs
from warehouse.steps.listing import list_objects
from warehouse.steps.publish import Published, publish

if TYPE_CHECKING:
    import duckdb

    from warehouse.query.session import Session

_SQL = "store/sources.sql"


def admit(con: "duckdb.DuckDBPyConnection", source: str, *, add_source: bool) -> None:
    """Raise UsageError for a source that would be mixed with others unasked, or that lies within one of them."""
    sql = sqlfiles.statements(_SQL)
    if con.execute(sql["known"], {"source": source}).fetchone():
        return
    others = [name for (name,) in con.execute(sql["others"], {"source": source}).fetchall()]
    for other in others:
        if f"{source}/".startswith(f"{other}/") or f"{other}/".startswith(f"{source}/"):
            raise UsageError(
                f"{source} and {other}, which the lake has, lie within each other: objects would count twice. "
                f"Refresh {other}, or make another lake."
            )
    if others and not add_source:
        raise UsageError(
            f"The lake does not know {source}; it has {', '.join(others[:3])}{', …' if len(others) > 3 else ''}. "
            "To have both in one lake, add it:  chest refresh … --add-source  If the bucket has only moved, make "
            "another lake, or remove the old source first:  chest source remove SOURCE"
        )


def is_known(source: str, lake_address: str, settings: Settings) -> bool:
    """Whether the lake has objects of a source; of none when it is not there yet. The bucket must be one.

    UsageError when `source` is no bucket, SourceError when it cannot be listed, LakeError when the lake cannot be read.
    """
    from warehouse import lake, lake_connection, location, schema
    from warehouse.bucket_open import open_bucket

    name = open_bucket(source, settings).source
    place = location.parse(lake_address)
    if not lake.exists(place):
        return False
    with contextlib.closing(lake_connection.connect(settings, place)) as con:
        lake_connection.attach(con, place, "read_only")
        schema.check_version(con, place)
        return con.execute(sqlfiles.statements(_SQL)["known"], {"source": name}).fetchone() is not None


@dataclass(frozen=True, slots=True)
class Removed:
    """A source that was taken out of a lake, how many objects it had, and what was published."""

    source: str
    objects: int
    published: Published


def list_sources(warehouse: "Session") -> list[dict[str, Any]]:
    """Every source of the snapshot: objects, bytes, patients, and when its newest object was written."""
    answer = warehouse.con.execute(sqlfiles.statements(_SQL)["list"])
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def remove_source(
    source: str,
    lake_address: str,
    *,
    allow_removals: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> Removed:
    """Take all of a source out of the lake and publish: as a refresh of a bucket with nothing in it.

    The bucket is not opened. NotFoundError when the lake has no such source, RemovalsError unless `allow_removals`.
    """
    from warehouse import lake, location
    from warehouse.settings import load

    settings = settings or load()
    with lake.writer(location.parse(lake_address), settings, make=False) as con:
        if not con.execute(sqlfiles.statements(_SQL)["known"], {"source": source}).fetchone():
            raise NotFoundError(f"The lake has no source {source}. List them:  chest source list")
        run = runs.BucketRun(con, source, settings, progress=progress, bucket=Emptied(source))
        counts = list_objects(run, allow_removals)
        return Removed(source, counts.removed, publish(run, allow_removals))
