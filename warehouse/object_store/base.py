"""The interface of buckets: list and read the objects of a folder (folder.py) or of S3 (s3.py).

A listing is streamed as Arrow batches (key, size, etag, last_modified) and never held as Python objects. Reading fills
one buffer with many objects and reports which could not be read and why; it raises only if the whole bucket has become
unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from warehouse.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa


_MD5 = re.compile("[0-9a-f]{32}")

Buffer: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Why an object could not be read; `retry` if the next refresh should try again although nothing changed.

    `error` is the exception to raise if the cause turns out to be the bucket, not this object.
    """

    reason: str
    retry: bool = True
    error: SourceError | None = field(default=None, compare=False)


DELETED_SINCE_LISTING = ReadFailure("vanished between listing and reading")
CHANGED_SINCE_LISTING = ReadFailure("changed between listing and reading")
DENIED = ReadFailure("no permission to read it")
RESIZED = ReadFailure("of another length than it was listed with")
ALTERED = ReadFailure("its bytes are not those of its etag (MD5)")
ODD_ANSWER = ReadFailure("the server's answer is not one of S3")
NOT_TRIED = ReadFailure("not tried: the bucket did not answer for those before it")


class Content(NamedTuple):
    """An object being read: its etag, its total size, and its bytes from the requested offset.

    A tuple, because one is made for each of millions of objects.
    """

    etag: str
    size: int
    chunks: Iterator[Buffer]


@dataclass(frozen=True, slots=True)
class Facts:
    """The metadata of an object beyond its listing; unknown attributes are empty.

    `part_size` is that of a multipart upload, `checksums` are those of the whole object, by name of the algorithm
    (SHA256, SHA1, CRC32, …), in base64. `is_md5` is false if the etag is not an MD5, even if it looks like one.
    """

    etag: str = ""
    part_size: int = 0
    checksums: Mapping[str, str] = field(default_factory=dict)
    is_md5: bool = True


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that a listing skipped because it is not an object (a link that leads out, a pipe), and why."""

    key: str
    reason: str


class Bucket(Protocol):
    """The methods of a bucket that a refresh and a download need."""

    source: str
    #: The time that the last listing describes, None if the time of listing itself; and a note about it.
    listed_at: datetime | None
    listing_note: str

    @property
    def skipped(self) -> Sequence[Skipped]:
        """The entries that the last complete listing skipped."""

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Stream the listing of all keys that start with prefix, in LISTING's columns."""

    def read_into(
        self, buffer: memoryview, keys: Sequence[str], etags: Sequence[str], sizes: Sequence[int]
    ) -> dict[int, ReadFailure]:
        """Read objects, as listed, consecutively into a buffer that is large enough for all.

        Returns the failures by position; the content of the buffer for these is undefined.
        """

    def read_range(self, key: str, etag: str, size: int, start: int, stop: int) -> bytes | ReadFailure:
        """Read the bytes from `start` to before `stop` of an object as it was listed."""

    def stream(self, key: str, start: int = 0) -> Content | ReadFailure:
        """Read one object of any size from an offset; reading its bytes may raise OSError or SourceError."""

    def fetch(self, key: str, md5: str, size: int) -> bytes | Content | ReadFailure:
        """Read a small object at once: its bytes if they have this MD5 and size, otherwise what `stream` returns."""

    def facts(self, key: str) -> Facts:
        """The known checksums of an object; empty if there are none."""


@dataclass(slots=True)
class Emptied:
    """A stand-in for a bucket that has lost all its objects."""

    source: str
    skipped: Sequence[Skipped] = ()
    listed_at: datetime | None = None
    listing_note: str = ""

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:  # noqa: ARG002
        """No objects."""
        import pyarrow as pa

        yield pa.record_batch([[], [], [], []], listing_schema())

    def read_into(
        self,
        buffer: memoryview,  # noqa: ARG002
        keys: Sequence[str],
        etags: Sequence[str],  # noqa: ARG002
        sizes: Sequence[int],  # noqa: ARG002
    ) -> dict[int, ReadFailure]:
        """All are missing."""
        return dict.fromkeys(range(len(keys)), DELETED_SINCE_LISTING)

    def read_range(self, key: str, etag: str, size: int, start: int, stop: int) -> bytes | ReadFailure:  # noqa: ARG002
        """It is missing."""
        return DELETED_SINCE_LISTING

    def stream(self, key: str, start: int = 0) -> Content | ReadFailure:  # noqa: ARG002
        """It is missing."""
        return DELETED_SINCE_LISTING

    def fetch(self, key: str, md5: str, size: int) -> bytes | Content | ReadFailure:  # noqa: ARG002
        """It is missing."""
        return DELETED_SINCE_LISTING

    def facts(self, key: str) -> Facts:  # noqa: ARG002
        """Nothing is known about it."""
        return Facts()


def is_md5(etag: str) -> bool:
    """Whether an etag looks like an MD5 of the object; multipart etags do not, and under KMS it may look so wrongly."""
    return _MD5.fullmatch(etag) is not None


def listing_schema() -> pa.Schema:
    """Columns of a listing: key, size in bytes, etag without quotes, last_modified (UTC)."""
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.string()),
            ("size", pa.int64()),
            ("etag", pa.string()),
            ("last_modified", pa.timestamp("us", tz="UTC")),
        ]
    )
