"""Loads units within this process, by a pipeline of threads.

While a unit of some thousand objects is written and committed, the next is extracted and the one after that is
fetched; memory is bounded by the units in flight.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from warehouse.engine import sql_files
from warehouse.ingest import extraction, header_sources, preparing, readability
from warehouse.ingest.context import BucketRun
from warehouse.ingest.fetching import Fetched
from warehouse.ingest.object_kinds import ObjectKind
from warehouse.ingest.planning import Unit
from warehouse.ingest.preparing import Prepared
from warehouse.ingest.rejects import write_rejects

#: Units in progress ahead of the one being written: one is extracted, one is fetched.
_AHEAD = 2

_SQL = "ingest/loading.sql"


@contextlib.contextmanager
def open_loader(
    run: BucketRun, kind: ObjectKind, tool: str
) -> Iterator[Callable[[list[Unit]], Iterator[tuple[int, int, int]]]]:
    """Open a loader of planned units: it yields the objects, loaded rows and rejects of each, once it is committed."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(extraction.open_extractor()) for _ in range(kind.extractors)]
        yield partial(_load, run, kind, tool, idle)


def _load(
    run: BucketRun, kind: ObjectKind, tool: str, idle: list[extraction.Extractor], units: list[Unit]
) -> Iterator[tuple[int, int, int]]:
    for unit in _prepare_units(run, kind, idle, units):
        readability.require_bucket(run, unit.fetched.objects.num_rows, len(unit.fetched.unread))
        preparing.register_rows(run.con, kind, unit)
        if unit.loaded or unit.rejects:
            counts = {kind.step: unit.loaded, "rejected": len(unit.rejects)}
            run.commit(kind.step, partial(_write, run, kind, tool, unit), **counts)
        yield unit.fetched.objects.num_rows, unit.loaded, len(unit.rejects)


def _prepare_units(
    run: BucketRun, kind: ObjectKind, idle: list[extraction.Extractor], units: list[Unit]
) -> Iterator[Prepared]:
    """The planned units in order.

    While one is written the next is extracted, in a connection of its own, and the one after that is fetched,
    into one of three buffers used in turn.
    """
    statement = sql_files.read_statements(_SQL)["unit"]
    room = max((unit.size for unit in units), default=0)
    buffers = deque(bytearray(room) for _ in range(min(_AHEAD + 1, len(units))))
    ahead: deque[Future[Prepared]] = deque()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="fetch") as fetchers,
        ThreadPoolExecutor(len(idle), thread_name_prefix="extract") as extractors,
    ):
        try:
            for unit in units:
                objects = run.con.execute(statement, unit.places).to_arrow_table()
                fetched = fetchers.submit(preparing.fetch, kind, run.bucket, run.settings, objects, buffers[0])
                ahead.append(extractors.submit(_prepare, kind, idle, fetched))
                buffers.rotate(-1)
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for pool in (fetchers, extractors):
                pool.shutdown(wait=False, cancel_futures=True)


def _prepare(kind: ObjectKind, idle: list[extraction.Extractor], fetched: Future[Fetched]) -> Prepared:
    extractor = idle.pop()
    try:
        return preparing.prepare(kind, extractor, fetched.result())
    finally:
        idle.append(extractor)


def _write(run: BucketRun, kind: ObjectKind, tool: str, unit: Prepared) -> None:
    write_rejects(run, unit.rejects, unit.retried, tool)
    if unit.replaces:
        for table in kind.rows:
            forget = sql_files.fill(sql_files.read_statements(_SQL)["replace"], table=table, flag=kind.flag)
            run.con.execute(forget, {"source": run.source})
    for table, rows in preparing.list_rows(kind).items():
        run.con.execute(sql_files.fill(sql_files.read_statements(_SQL)["insert"], table=table, rows=rows))
    header_sources.write_patients(run, unit.patients)
