"""A refresh: four idempotent steps that bring the lake up to date with the bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.engine.faults import explain_faults
from warehouse.errors import UsageError
from warehouse.ingest import memory, scope, source_layouts, sources
from warehouse.ingest.context import BucketRun, Kept, Run, make_id
from warehouse.ingest.listing import ListingCounts, list_objects
from warehouse.ingest.loading import LoadCounts, load_clinical, load_images
from warehouse.ingest.publish import Published, publish
from warehouse.ingest.rereading import reextract
from warehouse.ingest.units import engines
from warehouse.lake import location, store
from warehouse.lake.location import Location
from warehouse.object_store.base import Bucket
from warehouse.object_store.folder import FolderBucket
from warehouse.object_store.listed import open_listed
from warehouse.object_store.opening import open_bucket
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings

__all__ = [
    "BucketRun",
    "ListingCounts",
    "LoadCounts",
    "Progress",
    "Published",
    "RefreshResult",
    "Run",
    "list_objects",
    "load_clinical",
    "load_images",
    "open_lake_run",
    "open_run",
    "publish",
    "reextract",
    "refresh",
]


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What a refresh did, step by step."""

    source: str
    objects: ListingCounts
    images: LoadCounts
    clinical: LoadCounts
    published: Published


@contextlib.contextmanager
def open_run(
    source: str,
    lake_address: str,
    *,
    prefixes: Sequence[str] = (),
    patients: Sequence[str] = (),
    changed_prefixes: Sequence[str] = (),
    refresh_id: str = "",
    add_source: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> Iterator[BucketRun]:
    """Open bucket and lake for one or more steps. The bucket comes first: a wrong one leaves the lake untouched.

    `prefixes` and `patients` limit the steps to keys that start so, and to all keys of these patients.
    `changed_prefixes` do as `prefixes`, but may have no keys, which may have gone since an event named them.
    A limited refresh always lists the bucket directly, even if an inventory is configured.
    UsageError for a new bucket if the lake already has another, unless `add_source`.
    """
    settings = settings or load_settings()
    memory.bound_memory()
    scope.check_scope(prefixes, patients)
    if settings.engine:
        from warehouse.ingest.units.sessions import require_engine

        require_engine(settings.engine)
    place = location.parse_address(lake_address)
    is_limited = any(prefixes) or patients or changed_prefixes
    bucket = open_bucket(source, settings) if is_limited else open_listed(source, settings)
    _require_apart(bucket, place)
    with store.open_writer(place, settings) as con, contextlib.closing(Kept()) as kept:
        sources.admit_source(con, bucket.source, add_source=add_source)
        layout, kept.known_layout = source_layouts.find_layout(
            con, bucket.source, settings.layout, settings.layout_group
        )
        source_layouts.check_patients(layout, patients)
        run = BucketRun(
            con,
            bucket.source,
            settings,
            scope.find_scope(con, bucket.source, prefixes, patients, changed_prefixes, layout),
            refresh_id or make_id(),
            progress,
            bucket=bucket,
            layout=layout,
            place=place,
            kept=kept,
        )
        engines.require_engine(run)
        yield run


def _require_apart(bucket: Bucket, place: Location) -> None:
    """Raise UsageError if the lake would be written into its own bucket, or if its files are the bucket."""
    if not isinstance(bucket, FolderBucket) or "://" in place.data_path:
        return
    objects, data = Path(bucket.source).resolve(), Path(place.data_path).resolve()
    for lies in (data, (place.folder or data).resolve()):
        if lies.is_relative_to(objects):
            raise UsageError(
                f"The lake {place.name} is inside its own bucket {bucket.source}: its files would become objects. "
                "Choose a lake outside the bucket with --lake."
            )
    if objects.is_relative_to(data):
        raise UsageError(
            f"The bucket {bucket.source} is inside the data folder of the lake {place.name}. Move one of them."
        )


@contextlib.contextmanager
def open_lake_run(
    source: str,
    lake_address: str,
    *,
    refresh_id: str = "",
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> Iterator[Run]:
    """Open only the lake, for `publish`, which reads no bucket: a bucket that is down does not prevent publishing data
    of others. `source` is recorded as what was refreshed."""
    settings = settings or load_settings()
    place = location.parse_address(lake_address)
    with store.open_writer(place, settings) as con:
        yield Run(con, source, settings, refresh_id=refresh_id or make_id(), progress=progress, place=place)


@explain_faults()
def refresh(
    source: str | Path,
    lake_address: str | Path,
    *,
    prefix: str | Sequence[str] = (),
    patients: Sequence[str] = (),
    full: bool = False,
    allow_removals: bool = False,
    add_source: bool = False,
    reextract_headers: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> RefreshResult:
    """Bring the lake up to date with the bucket and publish it.

    `prefix` (one or several) and `patients` limit the refresh to keys that start so, and to all keys of these patients;
    `full` reads every object again, changed or not; `allow_removals` accepts that over
    `max_removals_percent` of the objects are gone, or cannot be read; `add_source` takes a second bucket into a lake
    that has one. Raises UsageError, SourceError, RemovalsError or LakeError; what was committed before is safe, is not
    published, and the next refresh goes on from there.
    """
    prefixes = (prefix,) if isinstance(prefix, str) else prefix
    with open_run(
        str(source),
        str(lake_address),
        prefixes=prefixes,
        patients=patients,
        add_source=add_source,
        settings=settings,
        progress=progress,
    ) as run:
        objects = list_objects(run, allow_removals, full)
        if reextract_headers:
            reextract(run)
        images = load_images(run)
        clinical = load_clinical(run)
        return RefreshResult(run.source, objects, images, clinical, publish(run, allow_removals))
