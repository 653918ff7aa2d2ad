"""Streams a manifest's objects from its buckets: several requests in flight, in a fixed order, in bounded memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias

from warehouse.errors import ManifestError
from warehouse.manifests.blocks import Block, group
from warehouse.manifests.download_job import Wanted
from warehouse.manifests.files import abbreviate
from warehouse.manifests.loading.reading import Failed, read_object
from warehouse.object_store.base import Bucket
from warehouse.object_store.opening import open_bucket
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

#: What requests in flight may hold together, unless one object alone is larger.
_MOST_BYTES = 256 << 20
#: The columns of `rows` that locate an object; the others belong to the item.
_WHERE = ("key", "uri", "size", "etag")


#: A row's item, and the object that belongs to it.
_Item: TypeAlias = tuple[dict[str, Any], Wanted]


def _get_size(item: _Item) -> int:
    return item[1].size


class Shared:
    """The epoch and the number of skipped objects, shared by a data set and its worker processes."""

    def __init__(self, epoch: int = 0) -> None:
        # Of the context `spawn`: its lock may be handed to processes that are started in any way.
        self._values = multiprocessing.get_context("spawn").Array("q", [epoch, 0])

    def __reduce__(self) -> Any:
        if get_spawning_popen() is None:  # a copy, not a process that is being started
            return Shared, (self.epoch,)
        return _restore, (self._values,)

    @property
    def epoch(self) -> int:
        """The number of the epoch, which changes the order of a shuffled data set."""
        return int(self._values[0])

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._values[0] = number

    @property
    def skipped(self) -> int:
        """How many objects were skipped so far, in all processes."""
        return int(self._values[1])

    def count_skipped(self) -> None:
        """Count one more."""
        with self._values.get_lock():
            self._values[1] += 1


def _restore(values: Any) -> Shared:
    found = Shared.__new__(Shared)
    found._values = values
    return found


class Opened:
    """The buckets that a process has opened for all its epochs; another process opens its own."""

    def __init__(self) -> None:
        self._process = 0
        self._buckets: dict[str, Bucket] = {}

    def __reduce__(self) -> Any:
        return Opened, ()

    def open(self, places: dict[str, str], settings: Settings) -> dict[str, Bucket]:
        """The bucket of each source; UsageError if one is not a bucket, SourceError if it cannot be listed."""
        if self._process != os.getpid():
            self._buckets = {source: open_bucket(place, settings) for source, place in places.items()}
            self._process = os.getpid()
        return self._buckets


@dataclass(frozen=True, slots=True)
class Stream:
    """The objects of a manifest to be read from buckets; cheap to hand to another process.

    `rows` has the columns of a `Wanted` but the path, then those of the item. `places` has the bucket to read for each
    source. With `seed`, the order is shuffled by seed and epoch.
    """

    rows: pa.Table
    places: dict[str, str]
    settings: Settings
    in_flight: int
    seed: int | None = None
    skips: bool = False
    shared: Shared = field(default_factory=Shared)
    opened: Opened = field(default_factory=Opened, repr=False)

    def share(self, number: int, count: int) -> Sequence[int]:
        """The places of the rows that fall to one of `count` readers in this epoch: each row to exactly one."""
        order: Sequence[int] = range(self.rows.num_rows)
        if self.seed is not None:
            order = [*order]
            random.Random(f"{self.seed}:{self.shared.epoch}").shuffle(order)  # noqa: S311 - reproducible, not secret
        return order[number::count]

    def iterate(self, share: Sequence[int]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the item of each row and its object, in this order.

        ManifestError names an object that is not as the manifest has it; one that is to be skipped is counted.
        """
        buckets = self.opened.open(self.places, self.settings)
        skipped: list[str] = []
        with contextlib.closing(self._read_ahead(buckets, share)) as found:
            for item, wanted, content in found:
                if isinstance(content, bytes):
                    yield item, content
                    continue
                self.skip(ManifestError(f"{wanted.uri} cannot be loaded: {content.reason}."))
                skipped.append(wanted.key)
        if skipped:
            warnings.warn(f"Skipped {len(skipped):,} of {len(share):,} objects: {abbreviate(skipped)}", stacklevel=2)

    def skip(self, error: Exception) -> None:
        """Count an object that is skipped; raises the error unless that was asked for."""
        if not self.skips:
            raise error
        self.shared.count_skipped()

    def _read_ahead(
        self, buckets: dict[str, Bucket], share: Sequence[int]
    ) -> Generator[tuple[dict[str, Any], Wanted, bytes | Failed], None, None]:
        ahead: deque[tuple[Block[_Item], Future[list[bytes | Failed]]]] = deque()
        held, is_over = 0, Event()
        with ThreadPoolExecutor(self.in_flight, thread_name_prefix="stream") as pool:
            try:
                for block in group(self._list_wanted(share), _get_size, len(share), self.in_flight):
                    while ahead and (len(ahead) >= 2 * self.in_flight or held + block.size > _MOST_BYTES):
                        held -= ahead[0][0].size
                        yield from _settle(ahead)
                    ahead.append((block, pool.submit(_read, block, buckets, is_over)))
                    held += block.size
                while ahead:
                    yield from _settle(ahead)
            finally:
                is_over.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _list_wanted(self, share: Sequence[int]) -> Iterator[_Item]:
        """The items and objects of rows, a few at a time: a million dicts would take a gigabyte in each process."""
        others = [name for name in self.rows.column_names if name not in _WHERE]
        rows, names = self.rows.select([*_WHERE, *others]), ["key", *others]
        for start in range(0, len(share), 256):
            places = [*share[start : start + 256]]
            # By columns: rows of a table take five times as long.
            columns = [column.to_pylist() for column in rows.take(places).columns]
            for key, uri, size, etag, *values in zip(*columns, strict=True):
                item = dict(zip(names, (key, *values), strict=True))
                yield item, Wanted(key, uri, "", size, etag, uri.removesuffix(f"/{key}"))


def _read(block: Block[_Item], buckets: dict[str, Bucket], is_over: Event) -> list[bytes | Failed]:
    """Read the objects of a block, unless nobody waits for them any more."""
    return [read_object(buckets[wanted.source], wanted) for _, wanted in block.items if not is_over.is_set()]


def _settle(
    ahead: deque[tuple[Block[_Item], Future[list[bytes | Failed]]]],
) -> Iterator[tuple[dict[str, Any], Wanted, bytes | Failed]]:
    block, future = ahead.popleft()
    for (item, wanted), content in zip(block.items, future.result(), strict=True):
        yield item, wanted, content
