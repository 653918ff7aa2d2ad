"""Chooses the workers of a loading step, hands them its units, and registers their receipts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from warehouse.engine import machine_memory, sql_files
from warehouse.errors import UsageError
from warehouse.ingest import readability
from warehouse.ingest.context import BucketRun, Run
from warehouse.ingest.object_kinds import KINDS
from warehouse.ingest.planning import Unit
from warehouse.ingest.units.layouts import Layout, read_layouts
from warehouse.ingest.units.local import LocalWorkers
from warehouse.ingest.units.registering import register_receipts
from warehouse.ingest.units.unit import UnitTask, Work, Workers
from warehouse.lake import encryption

if TYPE_CHECKING:
    from warehouse.ingest.object_kinds import ObjectKind

#: The fewest objects for each worker: with fewer, starting it takes longer than what it saves.
OBJECTS_A_WORKER = 32_768
#: Units that an engine gets at a time.
MOST_UNITS = 32
#: Memory that a worker may take, in MB (measured: docs/scale.md).
WORKER_MB = 500


def count_workers(run: BucketRun, n_objects: int) -> int:
    """How many worker processes should load so many objects; 0 if this process does it alone.

    As many as cores, if there are enough objects and memory for them, or as CHEST_WORKERS says. The files of an
    encrypted lake are written by DuckLake alone, which makes their keys. With an engine: how many units it gets at a
    time; 0 if a single one has all objects.
    """
    if run.settings.engine:
        return (run.settings.workers or MOST_UNITS) if n_objects > run.settings.unit_objects else 0
    count = run.settings.workers
    if not count:
        room = machine_memory.total_mb() // 2 // WORKER_MB
        count = min(os.cpu_count() or 1, n_objects // OBJECTS_A_WORKER, room)
    return count if count > 1 and not encryption.is_encrypted(run.con) else 0


@contextlib.contextmanager
def open_loader(
    run: BucketRun, kind: ObjectKind, tool: str, count: int
) -> Iterator[Callable[[list[Unit]], Iterator[tuple[int, int, int]]]]:
    """Open a loader of planned units by so many worker processes, as pipelining.open_loader within this one."""
    layouts = read_layouts(run.con, run.place, [table for each in KINDS.values() for table in each.rows])
    if layouts is None:  # a lake that somebody has arranged otherwise
        from warehouse.ingest import pipelining

        with pipelining.open_loader(run, kind, tool) as load:
            yield load
        return
    run.kept.workers = run.kept.workers or _open_workers(run, layouts, count)
    yield partial(_load, run, kind, tool, run.kept.workers)


def require_engine(run: Run) -> None:
    """Raise UsageError if the engine of the settings cannot load into the lake."""
    if run.settings.engine and encryption.is_encrypted(run.con):
        raise UsageError(
            f"The lake {run.place.name} is encrypted: only the process that holds it can write its files. Refresh it "
            "without an engine (--engine, CHEST_ENGINE)."
        )


def _open_workers(run: BucketRun, layouts: dict[str, Layout], count: int) -> Workers:
    # No address goes along: that of a catalogue or of a cluster may have a login.
    settings = replace(run.settings, lake="", source="", sources="", engine="", inventory="", airlock="")
    work = Work(run.bucket.source, run.place.data_path, layouts, settings)
    if run.settings.engine:
        from warehouse.ingest.units.spark import SparkWorkers

        return SparkWorkers(work, run.settings.engine, count)
    return LocalWorkers(work, count)


def _load(
    run: BucketRun, kind: ObjectKind, tool: str, workers: Workers, units: list[Unit]
) -> Iterator[tuple[int, int, int]]:
    known: set[str] = set()
    for done in workers.run_units(kind.name, _read_units(run, units), len(units)):
        new = []
        for unit, receipt in done:
            readability.require_bucket(run, unit.objects.num_rows - receipt.left, receipt.unread)
            if unit.id not in known:
                new.append((unit, receipt))
                known.add(unit.id)
        loaded, rejected = register_receipts(run, kind, tool, new)
        yield sum(unit.objects.num_rows - receipt.left for unit, receipt in new), loaded, rejected


def _read_units(run: BucketRun, units: list[Unit]) -> Iterator[UnitTask]:
    """The planned objects of units, each read when a worker is about to get it."""
    statement = sql_files.read_statements("ingest/loading.sql")["unit"]
    for unit in units:
        yield UnitTask.of(run.con.execute(statement, unit.places).to_arrow_table())
