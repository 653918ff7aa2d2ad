"""Buckets: list and read the objects of a folder by plain file calls, or of S3 (warehouse/object_store/s3.py).

A listing is streamed as Arrow batches (key, size, etag, last_modified) and never held as Python objects.
Reading fills one buffer with many objects, and says which could not be had and why; it raises only when the
bucket as a whole has become unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

from warehouse.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa


_MD5 = re.compile("[0-9a-f]{32}")

Buffer: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Why an object could not be read; `retry` when the next refresh should try again although nothing changed.

    `error` is what to raise when it is not this object alone, but the bucket.
    """

    reason: str
    retry: bool = True
    error: SourceError | None = field(default=None, compare=False)


DELETED_SINCE_LISTING = ReadFailure("vanished between listing and reading")
CHANGED_SINCE_LISTING = ReadFailure("changed between listing and reading")
DENIED = ReadFailure("no permission to read it")
RESIZED = ReadFailure("of another length than it was listed with")
ALTERED = ReadFailure("its bytes are not those of its etag (MD5)")
NOT_TRIED = ReadFailure("not tried: the bucket did not answer for those before it")


@dataclass(frozen=True, slots=True)
class Content:
    """An object as it is being read: its etag, its whole size, and its bytes from where they were asked for."""

    etag: str
    size: int
    chunks: Iterator[Buffer]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a bucket knows of an object besides its listing; what it does not know is empty.

    `part_size` is that of the parts an etag over parts is made of, `checksums` are those of the whole object, by the
    algorithms' names (SHA256, SHA1, CRC32, …) in base64. `is_md5` is false where an etag is no MD5,
    whatever it looks like.
    """

    etag: str = ""
    part_size: int = 0
    checksums: Mapping[str, str] = field(default_factory=dict)
    is_md5: bool = True


@dataclass(frozen=True, slots=True)
class Skipped:
    """What a listing passed over, since it is no object: a link that leads out, a pipe; and why."""

    key: str
    reason: str


class Bucket(Protocol):
    """What a refresh, and a download, need of a bucket."""

    source: str
    #: When what the last listing showed was so; None: when it was made. And what there is to say about that.
    listed_at: datetime | None
    listing_note: str

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What the last listing, once it is at its end, has passed over."""

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Stream the listing of all keys that start with prefix, in LISTING's columns."""

    def read_into(
        self, buffer: memoryview, keys: Sequence[str], etags: Sequence[str], sizes: Sequence[int]
    ) -> dict[int, ReadFailure]:
        """Read objects as they were listed, one behind the other, into a buffer that has room for them all.

        Returns by place which ones could not be read; what the buffer holds of those is undefined.
        """

    def stream(self, key: str, start: int = 0) -> Content | ReadFailure:
        """Read one object of any size from a place on; OSError or SourceError while its bytes come in."""

    def facts(self, key: str) -> Facts:
        """What is known of an object's checksums; empty when nothing is."""


@dataclass(slots=True)
class Emptied:
    """A bucket that stands for one whose objects are all gone."""

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
        """None of them is there."""
        return dict.fromkeys(range(len(keys)), DELETED_SINCE_LISTING)

    def stream(self, key: str, start: int = 0) -> Content | ReadFailure:  # noqa: ARG002
        """It is not there."""
        return DELETED_SINCE_LISTING

    def facts(self, key: str) -> Facts:  # noqa: ARG002
        """Nothing is known of it."""
        return Facts()


def is_md5(etag: str) -> bool:
    """Whether an etag looks like the MD5 of the object; over parts it does not, under KMS it may and is none."""
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
