"""Steps 2 and 3, images and clinical: load what is pending, unit by unit.

While a unit of some thousand objects is written and committed, the next is extracted and the one after that is
fetched; memory is bounded by the units in flight. What cannot be read goes to ops.rejects.
"""

import contextlib
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from warehouse import columns, extract, sqlfiles
from warehouse.bucket import DENIED, Unread
from warehouse.errors import SourceError
from warehouse.steps import memory, unreadable
from warehouse.steps.recleaning import reclean
from warehouse.steps.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

#: Objects planned at a time: bounds the memory of a plan, at the price of one more look at raw.objects for each.
_STRETCH = 200_000
#: Units in work before the one that is written: one is extracted, one is fetched.
_AHEAD = 2
#: What some programs write before a UTF-8 text.
_MARK = b"\xef\xbb\xbf"
#: A unit of which nothing may be read is a lost permission, not so many odd objects.
_DENIED_UNIT = 20

#: Columns of a plan that are no business of the extraction.
_PLAN_ONLY = ["was_rejected", "old_reason"]

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


_IMAGES = _Target(
    "images",
    "header",
    "core.images",
    "a DICOM header",
    "is_header",
    lambda extractor, batch: (extract.headers(extractor, batch),),
    ("insert_images", "insert_headers"),
)
_CLINICAL = _Target(
    "clinical",
    "clinical",
    "core.clinical",
    "a clinical record",
    "is_record",
    extract.records,
    ("insert_clinical", "insert_issues", "insert_records"),
)


@dataclass(frozen=True, slots=True)
class _Span:
    """A unit of a plan: the places of its first and last object, and their bytes together."""

    first: int
    last: int
    size: int

    @property
    def places(self) -> dict[str, int]:
        """As parameters of a statement."""
        return {"first": self.first, "last": self.last}

    @property
    def count(self) -> int:
        """How many objects it has."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class _Fetched:
    """Objects as they were planned, the same with their contents as text, and by place those that are none because
    they could not be had or are not UTF-8 (null in the text)."""

    objects: "pa.Table"
    batch: "pa.Table"
    odd: dict[int, bytes | Unread]


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit ready to be committed: what was fetched, and the rows extracted from it; of records, then their issues."""

    fetched: _Fetched
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
    unloaded = sqlfiles.fill(sqlfiles.statements(_SQL)["unloaded"], kind=target.kind, table=target.table)
    total, done, loaded, rejected = _count(run, unloaded), 0, 0, 0
    run.progress(target.step, 0, total)
    with extract.connection() as extractor:
        for spans in _plans(run, unloaded):
            rejected += _reject_oversized(run, target)
            for unit in _prepared(run, target, extractor, spans):
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
    total = _count(run, sql["reextractable"])

    def work(extractor: extract.Extractor) -> int:
        run.con.execute(sql["forget_images"], {**source, "prefix": run.prefix})
        done = 0
        for spans in _plans(run, sql["reextractable"]):
            for span in spans:
                batch = run.con.execute(sql["stored_unit"], {**source, **span.places}).to_arrow_table()
                run.con.register("rows_read", extract.headers(extractor, batch.drop_columns(_PLAN_ONLY)))
                run.con.execute(sqlfiles.fill(sql["insert_images"], **columns.fills()))
                done += span.count
                run.progress("reextract", done, total)
        return done

    if not total:
        return LoadCounts(0, 0)
    with extract.connection() as extractor:
        return LoadCounts(run.commit("reextract", lambda: work(extractor), reextracted=total), 0)


def _count(run: Run, wanted: str) -> int:
    query = sqlfiles.fill(sqlfiles.statements(_SQL)["count"], wanted=wanted)
    with run.all_cores():
        row = run.con.execute(query, {"source": run.bucket.source, "prefix": run.prefix}).fetchone()
    return int(row[0]) if row else 0


def _plans(run: Run, wanted: str) -> Iterator[list[_Span]]:
    """Plan what is wanted, stretch by stretch; each stands in the temporary table `pending` while it is worked on.

    A stretch begins after the last object of the one before, so what could not be read is not tried twice.
    """
    query = sqlfiles.fill(sqlfiles.statements(_SQL)["waiting"], wanted=wanted)
    after, found = ("", "", ""), _STRETCH
    while found == _STRETCH:
        places = dict(zip(("after_group", "after_patient", "after_key"), after, strict=True))
        limits = {"source": run.bucket.source, "prefix": run.prefix, "most": _STRETCH}
        with run.all_cores():
            run.con.execute(query, {**limits, **places})
            row = run.con.execute(sqlfiles.statements(_SQL)["stretch"]).fetchone()
            assert row is not None
            found, after = row
            spans = _plan(run) if found else []
        memory.release()
        if found:
            yield spans


def _plan(run: Run) -> list[_Span]:
    """Put what waits in order, as temporary table `pending`, and cut it into units of bounded number and bytes."""
    sql = sqlfiles.statements(_SQL)
    # The plan's order is that of its sort; only the inserts of a writer need none.
    run.con.execute("set preserve_insertion_order = true")
    run.con.execute(
        sqlfiles.fill(sql["pending"], pairing=sqlfiles.read("refresh/pairing.sql")),
        {"source": run.bucket.source, "limit": run.settings.max_object_mb * 1_000_000},
    )
    run.con.execute("set preserve_insertion_order = false")
    most, room = max(1, run.settings.unit_objects), run.settings.unit_mb * 1_000_000
    spans: list[_Span] = []
    for place, size in run.con.execute(sql["sizes"]).fetchall():
        now = spans[-1] if spans else None
        if now and now.count < most and now.size + size <= room:
            spans[-1] = _Span(now.first, place, now.size + size)
        else:
            spans.append(_Span(place, place, size))
    return spans


def _reject_oversized(run: Run, target: _Target) -> int:
    """Reject objects too large to be what their key says, without fetching them."""
    limit = run.settings.max_object_mb
    found = run.con.execute(sqlfiles.statements(_SQL)["oversized"], {"limit": limit * 1_000_000})
    names = [column[0] for column in found.description or []]
    unread = Unread(f"larger than {limit} MB (CHEST_MAX_OBJECT_MB): not read")
    rejects = [_reject(dict(zip(names, row, strict=True)), unread) for row in found.fetchall()]
    news = [reject for reject in rejects if reject["old_reason"] != reject["reason"]]
    if news:
        run.commit(target.step, lambda: _write_rejects(run, news, []), rejected=len(news))
    return len(news)


def _prepared(run: Run, target: _Target, extractor: extract.Extractor, spans: list[_Span]) -> Iterator[_Unit]:
    """The planned units in order.

    While one is written the next is extracted, in a connection of its own, and the one after that is fetched,
    into one of three buffers used in turn.
    """
    statement = sqlfiles.statements(_SQL)["unit"]
    room = max((span.size for span in spans), default=0)
    buffers = deque(bytearray(room) for _ in range(min(_AHEAD + 1, len(spans))))
    ahead: deque[Future[_Unit]] = deque()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="fetch") as fetching,
        ThreadPoolExecutor(1, thread_name_prefix="extract") as extracting,
    ):
        try:
            for span in spans:
                objects = run.con.execute(statement, span.places).to_arrow_table()
                fetched = fetching.submit(_fetch, run, objects, buffers[0])
                ahead.append(extracting.submit(_extract, target, extractor, fetched))
                buffers.rotate(-1)
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for pool in (fetching, extracting):
                pool.shutdown(wait=False, cancel_futures=True)


def _fetch(run: Run, objects: "pa.Table", buffer: bytearray) -> _Fetched:
    keys, etags, sizes = (objects.column(name).to_pylist() for name in ("key", "etag", "size"))
    unread = run.bucket.read_into(memoryview(buffer), keys, etags, sizes)
    if len(keys) >= _DENIED_UNIT and [*unread.values()] == [DENIED] * len(keys):
        raise SourceError(
            f"{run.bucket.source}: its objects may not be read any more. Check the credentials, then run it again."
        )
    texts, odd = _texts(buffer, sizes, unread)
    return _Fetched(objects, objects.drop_columns(_PLAN_ONLY).append_column(_json("content", texts), texts), odd)


def _json(name: str, texts: "pa.Array") -> "pa.Field":
    """The field of texts that go to a JSON column; so marked, DuckDB does not parse them to see whether they are.
    None that is not JSON goes in: the extraction has parsed them all."""
    import pyarrow as pa

    return pa.field(name, texts.type, metadata={"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""})


def _extract(target: _Target, extractor: extract.Extractor, fetched: Future[_Fetched]) -> _Unit:
    return _Unit(fetched.result(), target.extract(extractor, fetched.result().batch))


def _store(run: Run, target: _Target, unit: _Unit) -> LoadCounts:
    """Commit the rows and rejects of a unit."""
    run.con.register("batch", unit.fetched.batch)
    for name, rows in zip(("rows_read", "issues_read"), unit.rows, strict=False):
        run.con.register(name, rows)
    unread = run.con.execute(f"select key from rows_read where not {target.flag}").fetchall()
    rejects, retried = _rejects(unit.fetched, {row[0] for row in unread}, target.wanted)
    loaded = unit.fetched.objects.num_rows - len(unread)
    if loaded or rejects:
        counts = {target.step: loaded, "rejected": len(rejects)}
        run.commit(target.step, lambda: _write(run, target, rejects, retried), **counts)
    return LoadCounts(loaded, len(rejects))


def _rejects(unit: _Fetched, unread: set[str], wanted: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The new rejects of a unit, and the keys whose earlier reject is out of date."""
    retried = set(unit.objects.filter(unit.objects.column("was_rejected")).column("key").to_pylist())
    rejects = []
    for place, key in enumerate(unit.objects.column("key").to_pylist() if unread else ()):
        if key in unread:
            content = unit.odd.get(place) or unit.batch.column("content")[place].as_py().encode()
            row = unit.objects.slice(place, 1).to_pylist()[0]
            reject = _reject(row, _reason(content, wanted))
            if row["old_reason"] == reject["reason"]:
                retried.remove(key)
            else:
                rejects.append(reject)
    return rejects, sorted(retried)


def _texts(
    buffer: bytearray, sizes: list[int], unread: dict[int, Unread]
) -> "tuple[pa.Array, dict[int, bytes | Unread]]":
    """The contents of a buffer as texts, in place and checked for the whole unit at once; and what is none."""
    import pyarrow as pa

    ends = array("q", accumulate(sizes, initial=0))
    for start, end in pairwise(ends):
        if buffer.startswith(_MARK, start, end):
            buffer[start : start + 3] = b"   "  # to JSON, the same as no byte order mark
    if not unread:
        with contextlib.suppress(pa.ArrowInvalid):
            offsets, data = pa.py_buffer(ends), pa.py_buffer(buffer)
            return pa.Array.from_buffers(pa.large_binary(), len(sizes), [None, offsets, data]).cast(
                pa.large_string()
            ), {}
    odd: dict[int, bytes | Unread] = {**unread}
    texts: list[str | None] = [None] * len(sizes)
    for place, size in enumerate(sizes):
        if place not in unread:
            content = bytes(buffer[ends[place] : ends[place] + size])
            texts[place] = unreadable.decode(content)
            if texts[place] is None:
                odd[place] = content
    return pa.array(texts, pa.large_string()), odd


def _reason(content: bytes | Unread, wanted: str) -> Unread:
    return content if isinstance(content, Unread) else Unread(unreadable.why(content, wanted), retry=False)


def _reject(row: dict[str, Any], unread: Unread) -> dict[str, Any]:
    return {**row, "reason": unread.reason, "retry": unread.retry}


def _write(run: Run, target: _Target, rejects: list[dict[str, Any]], retried: list[str]) -> None:
    _write_rejects(run, rejects, retried)
    for name in target.inserts:
        run.con.execute(sqlfiles.fill(sqlfiles.statements(_SQL)[name], **columns.fills()))


def _write_rejects(run: Run, rejects: list[dict[str, Any]], retried: list[str]) -> None:
    """Write rejects; those of objects tried before go, or keep the day they were first seen."""
    import pyarrow as pa

    sql = sqlfiles.statements(_SQL)
    keys = {"source": run.bucket.source, "keys": [*retried, *(reject["key"] for reject in rejects)]}
    if not keys["keys"]:
        return
    known = {key: first for key, _, first in run.con.execute(sql["known_rejects"], keys).fetchall()}
    if known:
        run.con.execute(sql["forget_rejects"], keys)
    if rejects:
        now = datetime.now(UTC)
        names = [column.name for column in columns.relations()["ops.rejects"].columns]
        rows = [
            {
                **reject,
                "source": run.bucket.source,
                "first_seen": known.get(reject["key"], now),
                "last_seen": now,
            }
            for reject in rejects
        ]
        run.con.register("rejects_found", pa.table({name: [row[name] for row in rows] for name in names}))
        run.con.execute(sqlfiles.fill(sql["insert_rejects"], **columns.fills()))
        run.con.unregister("rejects_found")
