"""Steps 2 and 3, images and clinical: load pending objects, unit by unit.

While a unit of some thousand objects is written and committed, the next is extracted and the one after that is
fetched; memory is bounded by the units in flight. Unreadable objects go to ops.rejects.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from warehouse import cleaning
from warehouse.catalog import columns
from warehouse.dicom import normal_form
from warehouse.engine import sql_files
from warehouse.ingest import (
    dcm_reading,
    extraction,
    fetching,
    header_extraction,
    planning,
    readability,
    record_extraction,
    reject_reasons,
)
from warehouse.ingest.context import BucketRun
from warehouse.ingest.fetching import Fetched
from warehouse.ingest.header_sources import choose_headers
from warehouse.ingest.planning import Unit
from warehouse.ingest.recleaning import reclean
from warehouse.ingest.rejects import collect_rejects, reject_oversized, write_rejects
from warehouse.ingest.rereading import reread
from warehouse.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

#: Units in progress ahead of the one being written: one is extracted, one is fetched.
_AHEAD = 2

_SQL = "ingest/loading.sql"


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """The counts of a loading step: rows loaded, objects rejected, and clinical files cleaned again by newer rules."""

    loaded: int
    rejected: int
    recleaned: int = 0


@dataclass(frozen=True, slots=True)
class _ObjectKind:
    """The tables and rules of a kind of object."""

    step: str
    kind: str
    table: str
    wanted: str
    flag: str
    extract: Callable[[extraction.Extractor, pa.Table], tuple[pa.Table, ...]]
    #: The name of its rows in the statements that insert them.
    relations: tuple[str, ...]
    inserts: tuple[str, ...]
    #: Tables with rows of an object, besides `table`.
    beside: tuple[str, ...]
    #: The digest of the rules that read it.
    rules: Callable[[], str]
    #: Its objects, by their keys.
    of_keys: str = "true"
    #: Whether its headers are read from .dcm objects.
    is_dcm: bool = False
    #: Extraction threads; with one, headers and the writer keep two cores busy. As many units are in memory at once, so
    #: each is correspondingly smaller.
    extractors: int = 1


_IMAGES = _ObjectKind(
    "images",
    "header",
    "core.images",
    reject_reasons.HEADER,
    "is_header",
    header_extraction.extract_headers,
    ("rows_read", "readings_read"),
    ("insert_images", "insert_headers"),
    ("raw.headers",),
    normal_form.compute_rules_digest,
    of_keys="ends_with(objects.key, '.json')",
)
_DCM = replace(
    _IMAGES,
    inserts=("insert_images", "insert_headers", "name_patients"),
    of_keys="not ends_with(objects.key, '.json')",
    is_dcm=True,
)
_CLINICAL = _ObjectKind(
    "clinical",
    "clinical",
    "core.clinical",
    reject_reasons.RECORD,
    "is_record",
    record_extraction.extract_records,
    ("rows_read", "issues_read"),
    ("insert_clinical", "insert_issues", "insert_records"),
    ("core.clinical_issues", "raw.records"),
    cleaning.compute_rules_digest,
    extractors=2,
)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit ready to commit: the fetched objects, the rows extracted from them, and the failures by key.

    The rows are followed by the readings of headers, or the issues of records.
    """

    fetched: Fetched
    rows: tuple[pa.Table, ...]
    failed: dict[str, str]


def load_images(run: BucketRun) -> LoadCounts:
    """Load the pending headers into core.images and raw.headers; SourceError if the bucket fails midway.

    Those of .json objects come before those that are read from .dcm objects, if the layout of the source has these.
    First, stored headers that were read by other rules are read again, without being fetched.
    """
    reread(run)
    counts = _load(run, _IMAGES)
    choose_headers(run)
    if run.layout.reads_dcm:
        counts = _add_dcm(run, counts)
    return counts


def _add_dcm(run: BucketRun, counts: LoadCounts) -> LoadCounts:
    """Load the pending headers of .dcm objects; what a unit had no room for is pending still."""
    is_cut = True
    while is_cut:
        found, is_cut = _load_some(run, _DCM)
        counts = replace(counts, loaded=counts.loaded + found.loaded, rejected=counts.rejected + found.rejected)
    return counts


def load_clinical(run: BucketRun) -> LoadCounts:
    """Load the pending clinical files into core.clinical and raw.records; SourceError if the bucket fails midway.

    First, stored files that were cleaned by other rules are cleaned again, without being fetched.
    """
    recleaned = reclean(run)
    return replace(_load(run, _CLINICAL), recleaned=recleaned)


def _load(run: BucketRun, target: _ObjectKind) -> LoadCounts:
    return _load_some(run, target)[0]


def _load_some(run: BucketRun, target: _ObjectKind) -> tuple[LoadCounts, bool]:
    """Load pending objects; also whether some were left out for lack of room in their unit."""
    tool = f"{__version__} {target.rules()}"
    unloaded = sql_files.fill(
        sql_files.read_statements(_SQL)["unloaded"],
        kind=sql_files.literal(target.kind),
        of_keys=target.of_keys,
        table=target.table,
        within=run.within("objects.key"),
        tool=sql_files.literal(tool),
    )
    most, room = (limit // target.extractors for limit in (run.settings.unit_objects, run.settings.unit_mb))
    run = replace(run, settings=replace(run.settings, unit_objects=most, unit_mb=room))
    done, loaded, rejected, is_cut = 0, 0, 0, False
    idle: list[extraction.Extractor] = []
    run.progress(target.step, 0, 0)
    with contextlib.ExitStack() as stack:
        for total, spans in planning.make_plans(
            run, unloaded, paired=target is not _CLINICAL, most_bytes=dcm_reading.UNIT_BYTES if target.is_dcm else 0
        ):
            run.progress(target.step, done, total)
            idle = idle or [stack.enter_context(extraction.open_extractor()) for _ in range(target.extractors)]
            rejected += 0 if target.is_dcm else reject_oversized(run, target.step, tool)
            for span, unit in zip(spans, _prepare_units(run, target, idle, spans), strict=True):
                counts = _store(run, target, tool, unit)
                is_cut = is_cut or unit.fetched.objects.num_rows < span.count
                loaded, rejected = loaded + counts.loaded, rejected + counts.rejected
                done += unit.fetched.objects.num_rows
                run.progress(target.step, done, total)
    return LoadCounts(loaded, rejected), is_cut


def _prepare_units(
    run: BucketRun, target: _ObjectKind, idle: list[extraction.Extractor], spans: list[Unit]
) -> Iterator[_Unit]:
    """The planned units in order.

    While one is written the next is extracted, in a connection of its own, and the one after that is fetched,
    into one of three buffers used in turn.
    """
    statement = sql_files.read_statements(_SQL)["unit"]
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
                fetched = (
                    fetchers.submit(dcm_reading.fetch, run.bucket, run.settings, objects)
                    if target.is_dcm
                    else fetchers.submit(fetching.fetch, run, objects, buffers[0])
                )
                ahead.append(extractors.submit(_extract, target, idle, fetched))
                buffers.rotate(-1)
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for pool in (fetchers, extractors):
                pool.shutdown(wait=False, cancel_futures=True)


def _extract(target: _ObjectKind, idle: list[extraction.Extractor], fetched: Future[Fetched]) -> _Unit:
    extractor = idle.pop()
    try:
        return _Unit(fetched.result(), *extraction.extract_piecemeal(target.extract, extractor, fetched.result().batch))
    finally:
        idle.append(extractor)


def _store(run: BucketRun, target: _ObjectKind, tool: str, unit: _Unit) -> LoadCounts:
    """Commit the rows and rejects of a unit; SourceError if not only these objects are unreadable, but all."""
    readability.require_bucket(run, unit.fetched)
    run.con.register("batch", extraction.drop_unreadable(unit.fetched.batch, unit.failed))
    for name, rows in zip(target.relations, unit.rows, strict=True):
        run.con.register(name, rows)
    unread = {row[0] for row in run.con.execute(f"select key from rows_read where not {target.flag}").fetchall()}
    rejects, retried = collect_rejects(unit.fetched, unread, unit.failed, target.wanted)
    loaded = unit.fetched.objects.num_rows - len(unread) - len(unit.failed)
    if loaded or rejects:
        counts = {target.step: loaded, "rejected": len(rejects)}
        replaces = bool(loaded) and any(unit.fetched.objects.column("is_loaded").to_pylist())
        run.commit(target.step, lambda: _write(run, target, tool, rejects, retried, replaces), **counts)
    return LoadCounts(loaded, len(rejects))


def _write(
    run: BucketRun, target: _ObjectKind, tool: str, rejects: list[dict[str, Any]], retried: list[str], replaces: bool
) -> None:
    write_rejects(run, rejects, retried, tool)
    if replaces:
        for table in (target.table, *target.beside):
            forget = sql_files.fill(sql_files.read_statements(_SQL)["replace"], table=table, flag=target.flag)
            run.con.execute(forget, {"source": run.source})
    for name in target.inserts:
        run.con.execute(sql_files.fill(sql_files.read_statements(_SQL)[name], **columns.template_values()))
