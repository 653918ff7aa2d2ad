"""Lists a large S3 bucket by several ranges of its keys at once. The ranges are found while listing.

S3 answers a page of a thousand keys in a tenth of a second, one after another, which is hours for a hundred million.
Nobody knows how the keys of a bucket are distributed. So one thread begins with all of them, and a thread that has
nothing to do takes a part of what another has left: it asks for the first key after one that lies between where the
other is and where its range ends. Is there one, the range is split there; is there none, the range ends there.

This needs keys in the order of their UTF-8 bytes, as S3 gives them. A bucket that has another order (S3 Express) is
listed by one thread.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from warehouse.object_store.s3_listing import PAGE_SIZE, NotAListingError, list_pages

if TYPE_CHECKING:
    import pyarrow as pa

#: Pages that are listed by one thread: most buckets, and all parts of a refresh, have no more.
PAGES_ALONE = 16
#: How often a range is probed for a key at which it may be split, before it is left alone.
_PROBES = 40
#: Pages that wait to be taken, for each thread: bounds memory when the reader is slower.
_WAITING = 4
#: The least character of a key, and one that follows those of most keys; other keys are found all the same.
_FIRST, _END = 0x20, "\x7f"
_SURROGATES = range(0xD800, 0xE000)


@dataclass(slots=True)
class _Range:
    """Keys after `at`, the last one listed, up to and with `end` (None: to the end of the bucket)."""

    at: str
    end: str | None = None
    is_probed: bool = False
    is_single: bool = False


@dataclass(slots=True)
class _Listing:
    """A listing by ranges: those that threads are at, and the pages that they have found."""

    client: Any
    bucket: str
    prefix: str
    page_size: int
    pages: queue.Queue[pa.RecordBatch | BaseException | None]
    active: list[_Range] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    is_over: bool = False


def list_by_ranges(
    client: Any,
    bucket: str,
    prefix: str,
    threads: int,
    *,
    page_size: int = PAGE_SIZE,
    pages_alone: int = PAGES_ALONE,
) -> Iterator[pa.RecordBatch]:
    """Stream every object below a prefix once, in any order, as s3_listing.list_pages; with its errors."""
    last, is_sorted = "", threads > 1
    for number, batch in enumerate(list_pages(client, bucket, prefix, most=page_size), 1):
        yield batch
        is_sorted = is_sorted and _follows(batch, last)
        last = _find_last(batch) or last
        if number == pages_alone and is_sorted and _begins_after(client, bucket, prefix, last):
            yield from _list_rest(client, bucket, prefix, last, threads, page_size)
            return


def _begins_after(client: Any, bucket: str, prefix: str, key: str) -> bool:
    """Whether the server can begin a listing after a key: one that cannot would list keys twice."""
    return all(_follows(batch, key) for batch in islice(list_pages(client, bucket, prefix, key, 1), 1))


def _list_rest(
    client: Any, bucket: str, prefix: str, after: str, threads: int, page_size: int
) -> Iterator[pa.RecordBatch]:
    listing = _Listing(client, bucket, prefix, page_size, queue.Queue(_WAITING * threads), [_Range(after)])
    with ThreadPoolExecutor(threads, thread_name_prefix="list") as pool:
        for number in range(threads):
            pool.submit(_work, listing, listing.active[0] if number == 0 else None)
        try:
            while (found := listing.pages.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            with listing.changed:
                listing.is_over = True
                listing.changed.notify_all()
            while not listing.pages.empty():  # a thread may wait for room
                with contextlib.suppress(queue.Empty):
                    listing.pages.get_nowait()


def _work(listing: _Listing, own: _Range | None) -> None:
    """List ranges until there are none left."""
    try:
        while own := own or _take_part(listing):
            _list_range(listing, own)
            with listing.changed:
                listing.active.remove(own)
                listing.changed.notify_all()
                if not listing.active:
                    _put(listing, None)
            own = None
    except BaseException as error:
        _put(listing, error)


def _put(listing: _Listing, found: pa.RecordBatch | BaseException | None) -> None:
    while not listing.is_over:
        with contextlib.suppress(queue.Full):
            return listing.pages.put(found, timeout=0.2)
    return None


def _list_range(listing: _Listing, own: _Range) -> None:
    for batch in list_pages(listing.client, listing.bucket, listing.prefix, own.at, listing.page_size):
        if not _follows(batch, own.at):
            raise NotAListingError  # another order than that of the first pages: keys might be missed
        last = _find_last(batch)
        with listing.changed:
            end, own.at = own.end, last or own.at
        part = batch if end is None or not last or last <= end else _cut(batch, end)
        if part.num_rows:
            _put(listing, part)
        if listing.is_over or (end is not None and last and last >= end):
            return


def _take_part(listing: _Listing) -> _Range | None:
    """Take a part of another thread's range; None when all is listed. Waits while there is nothing to take."""
    while True:
        with listing.changed:
            if listing.is_over or not listing.active:
                return None
            others = [one for one in listing.active if not one.is_single and not one.is_probed]
            if not others:
                listing.changed.wait()
                continue
            # The one that covers most of the space of keys, as far as their first characters show.
            other = min(others, key=lambda one: _count_common(one.at, one.end))
            other.is_probed = True
        part = _split(listing, other)
        with listing.changed:
            other.is_probed, other.is_single = False, part is None
            listing.changed.notify_all()
        if part:
            return part


def _split(listing: _Listing, other: _Range) -> _Range | None:
    """Split a range that another thread is at; None if no key was found at which it could be."""
    for _ in range(_PROBES):
        at, end = other.at, other.end
        if listing.is_over or (end is not None and at >= end):
            return None
        between = find_middle(at, end)
        if between is None:
            between, end = _find_sibling(listing, other, at, end)
        elif not _has_key(listing, between, end):
            _shorten(listing, other, end, between)
            continue
        if between is None:
            return None
        with listing.changed:
            # Meanwhile it may be over, or have come so far.
            if other in listing.active and other.at < between:
                other.end, part = between, _Range(between, end)
                listing.active.append(part)
                return part
    return None


def _has_key(listing: _Listing, after: str, end: str | None) -> bool:
    """Ask whether there is a key after a text, up to `end`."""
    page = next(list_pages(listing.client, listing.bucket, listing.prefix, after, 1))
    return bool(page.num_rows) and (end is None or _find_last(page) <= end)


def _shorten(listing: _Listing, other: _Range, end: str | None, sooner: str) -> None:
    """End a range sooner, as there is no key after that."""
    with listing.changed:
        if other.end == end:
            other.end = sooner


def _find_sibling(listing: _Listing, other: _Range, at: str, end: str | None) -> tuple[str | None, str | None]:
    """Find where the keys end that go on as `at` does, if others follow; the range is shortened to these.

    Of `training/Covid00123/…` that is `training/Covid00` if all keys begin so: then other patients follow after
    `training/Covid001`. How many characters all have alike is found by bisection, a request for each step.
    """
    least = few = _count_common(at, end) - (end is None)
    many = len(at)
    while many - few > 1:
        length = (few + many) // 2
        if _has_key(listing, at[:length] + _END, end):
            many = length
        else:
            few = length
    # The texts after which keys follow, and after which none do: if that was asked.
    longer, shorter = at[:many] + _END, at[:few] + _END
    if few > least and shorter > at and (end is None or shorter < end):
        _shorten(listing, other, end, shorter)
        end = shorter
    return (longer if many < len(at) else None), end


def find_middle(after: str, end: str | None) -> str | None:
    """A text about in the middle between two others, which need not be a key; None if they are neighbours.

    Texts are in the order of their UTF-8 bytes. Without `end` there is no middle.
    """
    if end is None:
        return None
    place = _count_common(after, end)
    if place == len(end):
        return None
    low = ord(after[place]) if place < len(after) else _FIRST - 1
    middle = _find_middle(low, ord(end[place]))
    return None if middle is None else after[:place] + chr(middle)


def _find_middle(low: int, high: int) -> int | None:
    middle = (low + high) // 2
    if middle in _SURROGATES:
        middle = _SURROGATES.start - 1
    return middle if low < middle < high else None


def _count_common(one: str, other: str | None) -> int:
    """The number of characters with which two texts begin alike."""
    if other is None:
        return 0
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _find_last(batch: pa.RecordBatch) -> str:
    return str(batch.column("key")[-1].as_py()) if batch.num_rows else ""


def _follows(batch: pa.RecordBatch, after: str) -> bool:
    """Whether the keys of a page come after a key, each after the one before it."""
    import pyarrow.compute as pc

    keys = batch.column("key")
    if not len(keys):
        return True
    return keys[0].as_py() > after and pc.all(pc.greater(keys[1:], keys[:-1])).as_py() is not False


def _cut(batch: pa.RecordBatch, end: str) -> pa.RecordBatch:
    import pyarrow.compute as pc

    return batch.filter(pc.less_equal(batch.column("key"), end))
