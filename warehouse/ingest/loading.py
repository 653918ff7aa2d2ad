"""Steps 2 and 3, images and clinical: load pending objects, unit by unit. Unreadable objects go to ops.rejects.

A few objects are loaded by this process (pipelining.py), many by worker processes (units/), each by the same functions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from warehouse.engine import sql_files
from warehouse.ingest import dcm_reading, key_ranges, pipelining, planning
from warehouse.ingest.context import BucketRun
from warehouse.ingest.header_sources import choose_headers
from warehouse.ingest.object_kinds import CLINICAL, DCM, IMAGES, ObjectKind
from warehouse.ingest.planning import Unit
from warehouse.ingest.recleaning import reclean
from warehouse.ingest.rejects import reject_oversized
from warehouse.ingest.rereading import reread
from warehouse.ingest.units import engines
from warehouse.version import __version__

_SQL = "ingest/loading.sql"

#: Loads the planned units, each yielded with its number of objects, of rows loaded and of objects rejected.
_Loader = Callable[[list[Unit]], Iterator[tuple[int, int, int]]]


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """The counts of a loading step: rows loaded, objects rejected, and clinical files cleaned again by newer rules."""

    loaded: int
    rejected: int
    recleaned: int = 0


def load_images(run: BucketRun) -> LoadCounts:
    """Load the pending headers into core.images and raw.headers; SourceError if the bucket fails midway.

    Those of .json objects come before those that are read from .dcm objects, if the layout of the source has these.
    First, stored headers that were read by other rules are read again, without being fetched.
    """
    reread(run)
    counts, _ = _load(run, IMAGES)
    choose_headers(run)
    is_cut = run.layout.reads_dcm
    while is_cut:  # what a unit had no room for is pending still
        found, is_cut = _load(run, DCM)
        counts = replace(counts, loaded=counts.loaded + found.loaded, rejected=counts.rejected + found.rejected)
    return counts


def load_clinical(run: BucketRun) -> LoadCounts:
    """Load the pending clinical files into core.clinical and raw.records; SourceError if the bucket fails midway.

    First, stored files that were cleaned by other rules are cleaned again, without being fetched.
    """
    recleaned = reclean(run)
    return replace(_load(run, CLINICAL)[0], recleaned=recleaned)


def _load(run: BucketRun, kind: ObjectKind) -> tuple[LoadCounts, bool]:
    """Load pending objects; also whether some were left for lack of room in their unit."""
    tool = f"{__version__} {kind.rules()}"
    unloaded = [
        sql_files.fill(
            sql_files.read_statements(_SQL)["unloaded"],
            kind=sql_files.literal(kind.kind),
            of_keys=kind.of_keys,
            table=kind.table,
            within=f"{run.within('objects.key')} and {one.render('objects.key')}",
            tool=sql_files.literal(tool),
        )
        for one in key_ranges.find_ranges(run.con)
    ]
    most, room = (limit // kind.extractors for limit in (run.settings.unit_objects, run.settings.unit_mb))
    run = replace(run, settings=replace(run.settings, unit_objects=most, unit_mb=room))
    done, planned, loaded, rejected = 0, 0, 0, 0
    most_bytes = dcm_reading.UNIT_BYTES if kind.is_dcm else 0
    load: _Loader | None = None
    run.progress(kind.step, 0, 0)
    with contextlib.ExitStack() as stack:
        for total, units in planning.make_plans(run, unloaded, kind is not CLINICAL, most_bytes):
            run.progress(kind.step, done, total)
            load = load or stack.enter_context(_open_loader(run, kind, tool, total))
            rejected += 0 if kind.is_dcm else reject_oversized(run, kind.step, tool)
            planned += sum(unit.count for unit in units)
            for n_objects, n_loaded, n_rejected in load(units):
                done, loaded, rejected = done + n_objects, loaded + n_loaded, rejected + n_rejected
                run.progress(kind.step, done, total)
    return LoadCounts(loaded, rejected), done < planned


def _open_loader(run: BucketRun, kind: ObjectKind, tool: str, total: int) -> contextlib.AbstractContextManager[_Loader]:
    """Choose who loads: worker processes if there are enough objects for them, or else this process."""
    workers = engines.count_workers(run, total * kind.weight)
    if workers:
        return engines.open_loader(run, kind, tool, workers)
    return pipelining.open_loader(run, kind, tool)
