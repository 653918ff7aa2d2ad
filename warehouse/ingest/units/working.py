"""A worker: fetches the objects of units, extracts and writes them, and returns receipts; it needs no lake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from warehouse.ingest import extraction, preparing
from warehouse.ingest.fetching import Fetched
from warehouse.ingest.object_kinds import KINDS, ObjectKind
from warehouse.ingest.units.unit import Receipt, UnitTask, Work
from warehouse.ingest.units.writing import write_unit
from warehouse.lake.connection import connect
from warehouse.lake.location import Location
from warehouse.lake.stored_files import open_storage
from warehouse.object_store.opening import open_bucket

#: Memory of DuckDB when a worker writes, in MB. What it holds otherwise: two units of texts, and the rows of one.
_WRITER_MB = 160


class Worker:
    """The state that a worker keeps from one unit to the next: the bucket, connections, threads."""

    def __init__(self, work: Work) -> None:
        """Open the bucket and the connections; SourceError or LakeError if that is not possible."""
        self._work = work
        # Without the login of a catalogue in PostgreSQL, which a worker has no use for.
        place = Location("the lake", work.data_path)
        self._open = contextlib.ExitStack()
        self._bucket = open_bucket(work.source, work.settings)
        self._storage = open_storage(place, work.settings)
        self._con = self._open.enter_context(contextlib.closing(connect(work.settings, place, _WRITER_MB)))
        self._con.execute("set preserve_insertion_order = false")
        self._extractor = self._open.enter_context(extraction.open_extractor())
        self._fetchers = self._open.enter_context(ThreadPoolExecutor(1, thread_name_prefix="fetch"))

    def close(self) -> None:
        """Close what is open."""
        self._open.close()

    def run_units(self, step: str, units: Sequence[UnitTask]) -> Iterator[Receipt]:
        """Load units of a step in order; while one is extracted and written, the next is fetched.

        SourceError if the bucket denies access.
        """
        kind = KINDS[step]
        buffers = [bytearray(0 if kind.is_dcm else max((unit.size for unit in units), default=0)) for _ in units[:2]]
        ahead: Future[Fetched] | None = None
        for place, unit in enumerate(units):
            fetched = (ahead or self._fetch(kind, unit, buffers[0])).result()
            ahead = self._fetch(kind, units[place + 1], buffers[(place + 1) % 2]) if place + 1 < len(units) else None
            yield self._load(kind, unit, fetched)

    def _fetch(self, kind: ObjectKind, unit: UnitTask, buffer: bytearray) -> Future[Fetched]:
        return self._fetchers.submit(preparing.fetch, kind, self._bucket, self._work.settings, unit.objects, buffer)

    def _load(self, kind: ObjectKind, unit: UnitTask, fetched: Fetched) -> Receipt:
        found = preparing.prepare(kind, self._extractor, fetched)
        written = tuple(write_unit(self._con, self._storage, self._work, kind, found)) if found.loaded else ()
        left = unit.objects.column("key").to_pylist()[found.fetched.objects.num_rows :]
        return Receipt(
            unit.id,
            written,
            loaded=found.loaded,
            unread=len(fetched.unread),
            rejects=found.rejects,
            retried=found.retried,
            missed=frozenset([*found.missed, *left]),
            left=len(left),
            patients=found.patients,
        )
