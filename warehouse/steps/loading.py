"""Steps 2 and 3, images and clinical: load what is pending, unit by unit.

While a unit of some thousand objects is written and committed, the next is extracted and the one after that is
fetched; memory is bounded by the units in flight. What cannot be read goes to ops.rejects.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from warehouse import columns, extract, sqlfiles
from warehouse.steps import fetching, planning, readability, rejecting
from warehouse.steps.fetching import Fetched
from warehouse.steps.planning import PLAN_ONLY, Span
from warehouse.steps.recleaning import reclean
from warehouse.steps.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

#: Units in work before the one that is written: one is extracted, one is fetched.
_AHEAD = 2

_SQL = "refresh/loading.sql"


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What a loading step did: rows loaded, objects rejected, and clinical files cleaned again by newer rules."""

    loaded: int
    rejected: int
    recleaned: int = 0


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a kind of object goes."""

    step: str
    kind: str
    table: str
    wanted: str
    flag: str
    extract: Callable[[extract.Extractor, "pa.Table"], "tuple[pa.Table, ...]"]
    inserts: tuple[str, ...]
    #: Where rows of an object stand besides `table`.
    beside: tuple[str, ...]
    #: Threads that extract; with one, headers keep two cores busy together with the writer. As many units are in memory
    #: at once, so each is that much smaller.
    extractors: int = 1


_IMAGES = _Target(
    "images",
    "header",
    "core.images",
    "a DICOM header",
    "is_header",
    lambda extractor, batch: (extract.headers(extractor, batch),),
    ("insert_images", "insert_headers"),
    ("raw.headers",),
)
_CLINICAL = _Target(
    "clinical",
    "clinical",
    "core.clinical",
    "a clinical record",
    "is_record",
    extract.records,
    ("insert_clinical", "insert_issues", "insert_records"),
    ("core.clinical_issues", "raw.records"),
    extractors=2,
)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit ready to be committed: what was fetched, and the rows extracted from it; of records, then their issues."""

    fetched: Fetched
    rows: "tuple[pa.Table, ...]"


def load_images(run: Run) -> LoadCounts:
    """Load the pending headers into core.images and raw.headers; SourceError when the bucket fails midway."""
    return _load(run, _IMAGES)


def load_clinical(run: Run) -> LoadCounts:
    """Load the pending clinical files into core.clinical and raw.records; SourceError as above.

    Before, those of the lake that other rules have typed are cleaned again, without being fetched.
    """
    recleaned = reclean(run)
    return replace(_load(run, _CLINICAL), recleaned=recleaned)


def _load(run: Run, target: _Target) -> LoadCounts:
    unloaded = sqlfiles.fill(
        sqlfiles.statements(_SQL)["unloaded"],
        kind=sqlfiles.literal(target.kind),
        table=target.table,
        within=run.within("objects.key"),
    )
    most, room = (limit // target.extractors for limit in (run.settings.unit_objects, run.settings.unit_mb))
    run = replace(run, settings=replace(run.settings, unit_objects=most, unit_mb=room))
    done, loaded, rejected = 0, 0, 0
    idle: list[extract.Extractor] = []
    run.progress(target.step, 0, 0)
    with contextlib.ExitStack() as stack:
        for total, spans in planning.plans(run, unloaded, paired=target is _IMAGES):
            run.progress(target.step, done, total)
            idle = idle or [stack.enter_context(extract.connection()) for _ in range(target.extractors)]
            rejected += rejecting.reject_oversized(run, target.step)
            for unit in _prepared(run, target, idle, spans):
                counts = _store(run, target, unit)
                loaded, rejected = loaded + counts.loaded, rejected + counts.rejected
                done += unit.fetched.objects.num_rows
                run.progress(target.step, done, total)
    return LoadCounts(loaded, rejected)


def reextract(run: Run) -> LoadCounts:
    """Type every stored header of the source again, from raw.headers, in one transaction; nothing is fetched.

    For a column that was added to sql/columns/images.csv.
    """
    sql = sqlfiles.statements(_SQL)
    source = {"source": run.bucket.source}
    wanted = sqlfiles.fill(sql["reextractable"], within=run.within("objects.key"))
    run.con.execute(sql["kept"], source)
    total = planning.count(run, wanted)

    def work(extractor: extract.Extractor) -> int:
        forget = sqlfiles.fill(sql["forget_images"], within=run.within("key"))
        run.con.execute(forget, {**source, "prefixes": list(run.scope.prefixes)})
        done = 0
        for _, spans in planning.plans(run, wanted):
            for span in spans:
                batch = run.con.execute(sql["stored_unit"], {**source, **span.places}).to_arrow_table()
                run.con.register("rows_read", extract.headers(extractor, batch.drop_columns(PLAN_ONLY)))
                run.con.execute(sqlfiles.fill(sql["insert_images"], **columns.fills()))
                done += span.count
                run.progress("reextract", done, total)
        return done

    if not total:
        return LoadCounts(0, 0)
    with extract.connection() as extractor:
        return LoadCounts(run.commit("reextract", lambda: work(extractor), reextracted=total), 0)


def _prepared(run: Run, target: _Target, idle: list[extract.Extractor], spans: list[Span]) -> Iterator[_Unit]:
    """The planned units in order.

    While one is written the next is extracted, in a connection of its own, and the one after that is fetched,
    into one of three buffers used in turn.
    """
    statement = sqlfiles.statements(_SQL)["unit"]
    room = max((span.size for span in spans), default=0)
    buffers = deque(bytearray(room) for _ in range(min(_AHEAD + 1, len(spans))))
    ahead: deque[Future[_Unit]] = deque()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="fetch") as fetchers,
        ThreadPoolExecutor(len(idle), thread_name_prefix="extract") as extractors,
    ):
        try:
            for span in spans:
                objects = run.con.execute(statement, span.places).to_arrow_table()
                fetched = fetchers.submit(fetching.fetch, run, objects, buffers[0])
                ahead.append(extractors.submit(_extract, target, idle, fetched))
                buffers.rotate(-1)
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for pool in (fetchers, extractors):
                pool.shutdown(wait=False, cancel_futures=True)


def _extract(target: _Target, idle: list[extract.Extractor], fetched: Future[Fetched]) -> _Unit:
    extractor = idle.pop()
    try:
        return _Unit(fetched.result(), target.extract(extractor, fetched.result().batch))
    finally:
        idle.append(extractor)


def _store(run: Run, target: _Target, unit: _Unit) -> LoadCounts:
    """Commit the rows and rejects of a unit; SourceError when it is not these objects that cannot be read, but all."""
    readability.require_bucket(run, unit.fetched)
    run.con.register("batch", unit.fetched.batch)
    for name, rows in zip(("rows_read", "issues_read"), unit.rows, strict=False):
        run.con.register(name, rows)
    unread = run.con.execute(f"select key from rows_read where not {target.flag}").fetchall()
    rejects, retried = rejecting.rejects(unit.fetched, {row[0] for row in unread}, target.wanted)
    loaded = unit.fetched.objects.num_rows - len(unread)
    if loaded or rejects:
        counts = {target.step: loaded, "rejected": len(rejects)}
        replaces = bool(loaded) and any(unit.fetched.objects.column("is_loaded").to_pylist())
        run.commit(target.step, lambda: _write(run, target, rejects, retried, replaces), **counts)
    return LoadCounts(loaded, len(rejects))


def _write(
    run: Run, target: _Target, rejects: list[dict[str, Any]], retried: list[str], replaces: bool = False
) -> None:
    rejecting.write(run, rejects, retried)
    if replaces:
        for table in (target.table, *target.beside):
            forget = sqlfiles.fill(sqlfiles.statements(_SQL)["replace"], table=table, flag=target.flag)
            run.con.execute(forget, {"source": run.bucket.source})
    for name in target.inserts:
        run.con.execute(sqlfiles.fill(sqlfiles.statements(_SQL)[name], **columns.fills()))
