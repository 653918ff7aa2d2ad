"""Reads objects of the bucket at any offset, and only those that the lake has listed: by their etag and size.

An object is opened at the offset that is wanted, by a ranged read, and read on from there. Each time it is opened its
etag and size are compared with those of the lake: bytes of another version never leave. Only buckets that the lake
itself names are opened.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from warehouse.errors import NotFoundError
from warehouse.object_store.base import DELETED_SINCE_LISTING, Bucket, ReadFailure
from warehouse.object_store.opening import open_bucket
from warehouse.service.dicomweb.errors import ChangedError, GoneError
from warehouse.service.dicomweb.studies import Stored
from warehouse.settings import Settings

#: Bytes that are read on rather than opened anew, when a reader skips forward.
_SKIP = 1 << 20
_BUFFER = 1 << 16


@dataclass
class Buckets:
    """The buckets of a lake, each opened once. Safe to use from several threads."""

    settings: Settings
    _open: dict[str, Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, source: str) -> Bucket:
        """The bucket of a source; SourceError if it cannot be opened."""
        with self._lock:
            if source not in self._open:
                self._open[source] = open_bucket(source, self.settings)
            return self._open[source]

    def open(self, image: Stored) -> io.BufferedReader:
        """Open the .dcm of an image, to be read at any offset.

        NotFoundError if it had none, GoneError or ChangedError if the bucket has it no longer.
        """
        if not image.dcm_key:
            raise NotFoundError("The pixels of this image are not in the bucket: only its header was sent.")
        return io.BufferedReader(_ObjectFile(self.find(image.source), image), _BUFFER)


class _ObjectFile(io.RawIOBase):
    """An object as a file that can be read and sought."""

    #: What pydicom would show in its errors.
    name = ""

    def __init__(self, bucket: Bucket, image: Stored) -> None:
        self._bucket, self._image = bucket, image
        self._at = 0
        self._chunks: Iterator[Any] = iter(())
        self._chunk = memoryview(b"")
        self._open_at(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._image.size}[whence]
        target = max(0, base + offset)
        ahead = target - self._at
        if 0 <= ahead <= len(self._chunk):
            self._chunk = self._chunk[ahead:]
        elif len(self._chunk) < ahead <= len(self._chunk) + _SKIP:
            self._at += len(self._chunk)
            self._chunk = memoryview(b"")
            while self._at < target:
                skipped = bytearray(min(target - self._at, _BUFFER))
                if not self.readinto(skipped):
                    break
        else:
            self._chunks, self._chunk = iter(()), memoryview(b"")
            self._at = target
            return target
        self._at = target
        return target

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        if self._at >= self._image.size or not len(into):
            return 0
        if not self._chunk:
            self._chunk = self._read_chunk()
        n_bytes = min(len(into), len(self._chunk))
        into[:n_bytes] = self._chunk[:n_bytes]
        self._chunk = self._chunk[n_bytes:]
        self._at += n_bytes
        return n_bytes

    def _read_chunk(self) -> memoryview:
        try:
            found = next(self._chunks, None)
            if found is None:
                self._open_at(self._at)
                found = next(self._chunks, None)
        except OSError as error:
            raise GoneError(f"The object could not be read to its end: {error.strerror or 'it was cut off'}.") from None
        if found is None:
            raise ChangedError("The object ended before its size.")
        return memoryview(found).cast("B")

    def _open_at(self, start: int) -> None:
        content = self._bucket.stream(self._image.dcm_key, start)
        if content is DELETED_SINCE_LISTING:
            raise GoneError("The bucket no longer has this object. A refresh records that.")
        if isinstance(content, ReadFailure):
            raise GoneError(f"The object cannot be read: {content.reason}.")
        if content.etag != self._image.etag or content.size != self._image.size:
            raise ChangedError("The bucket has another version of this object than the lake. A refresh records it.")
        self._chunks = iter(content.chunks)
