"""Reads many small objects of S3 concurrently, and verifies each against its listed size and etag.

An object that does not match is fetched again; if that does not help, the failure is the object's, not the bucket's.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate

from warehouse.errors import SourceError
from warehouse.object_store.base import (
    ALTERED,
    CHANGED_SINCE_LISTING,
    NOT_TRIED,
    RESIZED,
    Buffer,
    Facts,
    ReadFailure,
    is_md5,
)

#: Gets an object by its key, MD5 ("" if unknown) and size: its bytes if they are those of the MD5, else its etag and
#: bytes, or the failure; raises SourceError for an error of the bucket.
Get = Callable[[str, str, int], bytes | tuple[str, bytes] | ReadFailure]

#: How often an object that does not match its listing is fetched.
_TRIES = 3
#: After this many objects in a row without an answer, reading stops. The order is random, so it is not one folder.
_PATIENCE = 32
#: After this many etags that are not MD5s, and none that is, a bucket's etags are no longer compared.
_OPAQUE = 16


@dataclass(slots=True)
class Etags:
    """Tracks whether a bucket's etags that look like MD5s are MD5s of the bytes.

    Under SSE-KMS and SSE-C they are not (AWS, S3 API reference, Object, ETag). That takes another request per object,
    which is saved in a bucket where none is an MD5.
    """

    is_compared: bool = True
    _n_md5: int = 0
    _n_opaque: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admits(self, etag: str, body: bytes, facts: Callable[[], Facts]) -> bool:
        """Whether the bytes are consistent with an etag."""
        if not self.is_compared or not is_md5(etag):
            return True
        if has_md5(body, etag, len(body)):
            self.note_md5()
            return True
        is_opaque = not facts().is_md5
        if is_opaque:
            with self._lock:
                self._n_opaque += 1
                self.is_compared = bool(self._n_md5) or self._n_opaque < _OPAQUE
        return is_opaque

    def note_md5(self) -> None:
        """Note that an etag of this bucket was the MD5 of its object."""
        if not self._n_md5:
            with self._lock:
                self._n_md5, self.is_compared = 1, True


def has_md5(body: bytes, md5: str, size: int) -> bool:
    """Whether bytes have this size and MD5."""
    return len(body) == size and hashlib.md5(body, usedforsecurity=False).hexdigest() == md5


def read_at_most(chunks: Iterable[Buffer], most: int) -> bytes:
    """Join the chunks of a body; of one of more than `most` bytes a few more than that, which shows that it is longer.

    A body may be longer than it was listed, and without end, whatever the server has stated of its length.
    """
    taken: list[Buffer] = []
    for chunk in chunks:
        taken.append(chunk)
        most -= len(chunk)
        if most < 0:
            break
    return bytes(taken[0]) if len(taken) == 1 else b"".join(taken)


def require_length(chunks: Iterable[Buffer], n_bytes: int, source: str) -> Iterator[Buffer]:
    """The chunks of a body; SourceError if it has more bytes than the server has stated."""
    for chunk in chunks:
        n_bytes -= len(chunk)
        if n_bytes < 0:
            raise SourceError(f"{source}: an object has more bytes than the server stated. Check the server.")
        yield chunk


@dataclass(slots=True)
class _Patience:
    """Counts consecutive objects without an answer."""

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
    """Read objects consecutively into a buffer; returns the failures by position.

    Raises what `get` raises.
    """
    starts = [0, *accumulate(sizes)]
    patience = _Patience(max(n_threads, _PATIENCE))

    def read(place: int) -> ReadFailure | None:
        if patience.is_over:
            return NOT_TRIED
        key, etag, size = keys[place], etags[place], sizes[place]
        answer = read_as_listed(get, lambda: facts(key), seen, key, etag, size)
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


def read_as_listed(
    get: Get, facts: Callable[[], Facts], seen: Etags, key: str, etag: str, size: int
) -> bytes | ReadFailure:
    """Read an object, again if it does not have the etag, size and bytes of its listing."""
    fault = CHANGED_SINCE_LISTING
    for _ in range(_TRIES):
        found = get(key, etag if seen.is_compared and is_md5(etag) else "", size)
        if isinstance(found, bytes):
            seen.note_md5()
            return found
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
