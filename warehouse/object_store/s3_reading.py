"""Reads many small objects of S3 at once: each as it was listed, whole, and with the bytes that its etag says.

What is not so is fetched again, and in the end said of the object, not of the bucket.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate

from warehouse.object_store.base import ALTERED, CHANGED_SINCE_LISTING, NOT_TRIED, RESIZED, Facts, ReadFailure, is_md5

#: Gives an object's etag and bytes, or why not; raises SourceError when it is the bucket.
Get = Callable[[str], tuple[str, bytes] | ReadFailure]

#: How often an object is fetched that does not come as it was listed.
_TRIES = 3
#: Objects in a row without an answer after which the others are not asked for. In random order, so it is not a folder.
_PATIENCE = 32
#: Etags found to be no MD5s, with none that was one, after which a bucket's are not compared any more.
_OPAQUE = 16


@dataclass(slots=True)
class Etags:
    """What is known of a bucket's etags: whether those that look like MD5s are the MD5s of the bytes.

    Under SSE-KMS and SSE-C they are not (AWS, S3 API reference, Object, ETag). Each object can say so, by one more
    request; a bucket where none is an MD5 is not asked of each.
    """

    is_compared: bool = True
    _n_md5: int = 0
    _n_opaque: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admits(self, etag: str, body: bytes, facts: Callable[[], Facts]) -> bool:
        """Whether bytes can be those of an etag."""
        if not self.is_compared or not is_md5(etag):
            return True
        fits = hashlib.md5(body, usedforsecurity=False).hexdigest() == etag
        is_opaque = not fits and not facts().is_md5
        if (fits and not self._n_md5) or is_opaque:
            with self._lock:
                self._n_md5, self._n_opaque = self._n_md5 + fits, self._n_opaque + is_opaque
                self.is_compared = bool(self._n_md5) or self._n_opaque < _OPAQUE
        return fits or is_opaque


@dataclass(slots=True)
class _Patience:
    """Counts the objects in a row for which no answer came."""

    limit: int
    _row: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_over(self) -> bool:
        return self._row >= self.limit

    def note(self, answer: bytes | ReadFailure) -> None:
        is_silent = isinstance(answer, ReadFailure) and answer.error is not None
        with self._lock:
            self._row = self._row + 1 if is_silent else 0


def read_all(
    get: Get,
    facts: Callable[[str], Facts],
    seen: Etags,
    n_threads: int,
    buffer: memoryview,
    keys: Sequence[str],
    etags: Sequence[str],
    sizes: Sequence[int],
) -> dict[int, ReadFailure]:
    """Read objects, one behind the other, into a buffer; by place those that could not be read, and why.

    Raises what `get` raises.
    """
    starts = [0, *accumulate(sizes)]
    patience = _Patience(max(n_threads, _PATIENCE))

    def read(place: int) -> ReadFailure | None:
        if patience.is_over:
            return NOT_TRIED
        key, etag, size = keys[place], etags[place], sizes[place]
        answer = _read_as_listed(get, lambda: facts(key), seen, key, etag, size)
        patience.note(answer)
        if isinstance(answer, ReadFailure):
            return answer
        buffer[starts[place] : starts[place] + size] = answer
        return None

    order = [*range(len(keys))]
    random.shuffle(order)
    with ThreadPoolExecutor(n_threads) as pool:
        answers = zip(order, pool.map(read, order), strict=True)
        return {place: answer for place, answer in answers if answer}


def _read_as_listed(
    get: Get, facts: Callable[[], Facts], seen: Etags, key: str, etag: str, size: int
) -> bytes | ReadFailure:
    fault = CHANGED_SINCE_LISTING
    for _ in range(_TRIES):
        found = get(key)
        if isinstance(found, ReadFailure):
            return found
        given, body = found
        if given != etag:
            fault = CHANGED_SINCE_LISTING
        elif len(body) != size:
            fault = RESIZED
        elif seen.admits(etag, body, facts):
            return body
        else:
            fault = ALTERED
    return fault
