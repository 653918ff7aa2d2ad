"""Buckets: list and read the objects of a folder by plain file calls, or of S3 (warehouse/bucket_s3.py).

A listing is streamed as Arrow batches (key, size, etag, last_modified) and never held as Python objects.
Reading fills one buffer with many objects, and says which could not be had and why; it raises only when the
bucket as a whole has become unreadable.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

from warehouse import beneath
from warehouse.errors import SourceError, UsageError
from warehouse.masking import remember_secret, secrets_of
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes that a stream reads at once.
_CHUNK = 1 << 20
#: Paths that a listing may pass over: more of them are no odd ones among many.
_MOST_SKIPPED = 100_000


_MD5 = re.compile("[0-9a-f]{32}")

Buffer: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Unread:
    """Why an object could not be read; `retry` when the next refresh should try again although nothing changed.

    `error` is what to raise when it is not this object alone, but the bucket.
    """

    reason: str
    retry: bool = True
    error: SourceError | None = field(default=None, compare=False)


VANISHED = Unread("vanished between listing and reading")
CHANGED = Unread("changed between listing and reading")
DENIED = Unread("no permission to read it")
RESIZED = Unread("of another length than it was listed with")
ALTERED = Unread("its bytes are not those of its etag (MD5)")
NOT_TRIED = Unread("not tried: the bucket did not answer for those before it")


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

    def listing(self, prefix: str = "") -> "Iterator[pa.RecordBatch]":
        """Stream the listing of all keys that start with prefix, in LISTING's columns."""

    def read_into(
        self, buffer: memoryview, keys: Sequence[str], etags: Sequence[str], sizes: Sequence[int]
    ) -> dict[int, Unread]:
        """Read objects as they were listed, one behind the other, into a buffer that has room for them all.

        Returns by place which ones could not be read; what the buffer holds of those is undefined.
        """

    def stream(self, key: str, start: int = 0) -> Content | Unread:
        """Read one object of any size from a place on; OSError or SourceError while its bytes come in."""

    def facts(self, key: str) -> Facts:
        """What is known of an object's checksums; empty when nothing is."""


@dataclass(slots=True)
class Unopened:
    """A bucket of which only the name is needed; it has nothing to list and nothing to read."""

    source: str
    skipped: Sequence[Skipped] = ()
    listed_at: datetime | None = None
    listing_note: str = ""

    def listing(self, prefix: str = "") -> "Iterator[pa.RecordBatch]":  # noqa: ARG002
        """Refuses: it was not opened."""
        raise SourceError(f"{self.source} was not opened.")

    def read_into(
        self,
        buffer: memoryview,  # noqa: ARG002
        keys: Sequence[str],  # noqa: ARG002
        etags: Sequence[str],  # noqa: ARG002
        sizes: Sequence[int],  # noqa: ARG002
    ) -> dict[int, Unread]:
        """Refuses: it was not opened."""
        raise SourceError(f"{self.source} was not opened.")

    def stream(self, key: str, start: int = 0) -> Content | Unread:  # noqa: ARG002
        """Refuses: it was not opened."""
        raise SourceError(f"{self.source} was not opened.")

    def facts(self, key: str) -> Facts:  # noqa: ARG002
        """Refuses: it was not opened."""
        raise SourceError(f"{self.source} was not opened.")


class Emptied(Unopened):
    """A bucket that stands for one whose objects are all gone: its listing is empty."""

    def listing(self, prefix: str = "") -> "Iterator[pa.RecordBatch]":  # noqa: ARG002
        """No objects."""
        import pyarrow as pa

        yield pa.record_batch([[], [], [], []], listing_schema())


def is_md5(etag: str) -> bool:
    """Whether an etag looks like the MD5 of the object; over parts it does not, under KMS it may and is none."""
    return _MD5.fullmatch(etag) is not None


def listing_schema() -> "pa.Schema":
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


def open_bucket(url: str, settings: Settings) -> Bucket:
    """The bucket at `s3://NAME[/PREFIX]` or of a folder.

    UsageError when it is neither, SourceError when it cannot be listed; either says what to do.
    """
    if not url.strip():
        raise UsageError("No bucket was given. Say  chest refresh BUCKET  or set CHEST_SOURCE.")
    for secret in secrets_of(url):
        remember_secret(secret)
    if url.startswith("s3://"):
        from warehouse.bucket_s3 import S3Bucket

        return S3Bucket(url, settings)
    if "://" in url:
        raise UsageError(f"{url}: a bucket is s3://NAME or a folder.")
    return FolderBucket(Path(url))


def endpoint(session: Any) -> str:
    """The endpoint that AWS_ENDPOINT_URL or the profile sets; "" for Amazon's own."""
    url: str = session.client("s3", region_name=session.region_name or "us-east-1").meta.endpoint_url
    return "" if url.rstrip("/").endswith(".amazonaws.com") else url


class FolderBucket:
    """A folder whose files are the objects; time of writing and size stand in for the etag."""

    listed_at: datetime | None = None
    listing_note = ""

    def __init__(self, folder: Path) -> None:
        self._root = os.path.abspath(folder.expanduser())  # noqa: PTH100 - no links are resolved
        self.source = self._root
        self.skipped: list[Skipped] = []
        try:
            with os.scandir(self._root):
                pass
        except OSError as error:
            raise SourceError(f"The folder {self._root} cannot be listed: {error.strerror}. Check the path.") from None

    def listing(self, prefix: str = "") -> "Iterator[pa.RecordBatch]":
        """Walk the folder; a folder inside that cannot be listed is an error, never a gap. `skipped` is filled anew."""
        import pyarrow as pa

        from warehouse.walking import walk

        skipped: list[Skipped] = []
        self.skipped = skipped

        def skip(key: str, reason: str) -> None:
            if key.startswith(prefix):
                skipped.append(Skipped(_as_text(key), reason))
            if len(skipped) > _MOST_SKIPPED:
                raise SourceError(
                    f"The folder {self._root} has more than {_MOST_SKIPPED:,} paths that are no objects, such as "
                    f"{_as_text(key)!r}: {reason}. Name the folder that the files really lie in. Nothing was changed."
                )

        try:
            for rows in walk(self._root, prefix, skip):
                yield _batch([row for row in rows if row[0].startswith(prefix)] if prefix else rows)
        except OSError as error:
            words = error.strerror or str(error)
            raise SourceError(
                f"The folder {self._root} cannot be listed whole: {words}. Nothing was changed."
            ) from None
        yield pa.record_batch([[], [], [], []], listing_schema())

    def stream(self, key: str, start: int = 0) -> Content | Unread:
        """Open a file; its time of writing and size as they are now."""
        with self._opened() as (root, real):
            handle = _handle(root, real, key)
        if isinstance(handle, Unread):
            return handle
        stat = os.fstat(handle)
        return Content(f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size, _chunks(os.fdopen(handle, "rb"), start))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[int, str]]:
        """The folder's descriptor and its real path; below an open folder a path is shorter to walk."""
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise SourceError(f"The folder {self._root} cannot be read: {error.strerror}. Check the path.") from None
        try:
            yield root, beneath.place_of(root, self._root)
        finally:
            os.close(root)

    def facts(self, key: str) -> Facts:  # noqa: ARG002
        """A folder knows no checksums."""
        return Facts()

    def read_into(
        self,
        buffer: memoryview,
        keys: Sequence[str],
        etags: Sequence[str],  # noqa: ARG002 - a folder has none; the size must do
        sizes: Sequence[int],
    ) -> dict[int, Unread]:
        """Read files one after the other: with small files, threads only fight for the interpreter's lock."""
        unread: dict[int, Unread] = {}
        at = 0
        with self._opened() as (root, real):
            for place, (key, size) in enumerate(zip(keys, sizes, strict=True)):
                handle = _handle(root, real, key)
                if isinstance(handle, Unread):
                    unread[place] = handle
                else:
                    try:
                        # One byte more than was listed shows a file that has grown.
                        if os.readv(handle, [buffer[at : at + size], bytearray(1)]) != size:
                            unread[place] = CHANGED
                    except OSError as error:
                        unread[place] = Unread(f"cannot be read: {error.strerror}")
                    finally:
                        os.close(handle)
                at += size
        return unread


def _handle(root: int, real_root: str, key: str) -> int | Unread:
    """A descriptor of a file, or why there is none."""
    try:
        return beneath.open_file(root, real_root, key)
    except beneath.RefusedError as error:
        return Unread(str(error))
    except (FileNotFoundError, ValueError):  # ValueError: a character that no file name has
        return VANISHED
    except PermissionError:
        return DENIED
    except OSError as error:
        return Unread(f"cannot be read: {error.strerror}")


def _chunks(file: IO[bytes], start: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            yield chunk


def _batch(rows: list[tuple[str, int, int]]) -> "pa.RecordBatch":
    import pyarrow as pa
    import pyarrow.compute as pc

    keys, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
    try:
        names = pa.array(keys, pa.string())
    except UnicodeEncodeError:  # a file name that is no UTF-8
        names = pa.array([_as_text(key) for key in keys], pa.string())
    bytes_, nanos = pa.array(sizes, pa.int64()), pa.array(times, pa.int64())
    etags = pc.binary_join_element_wise(nanos.cast(pa.string()), bytes_.cast(pa.string()), "-")
    micros = pc.divide(nanos, 1000).cast(pa.timestamp("us", tz="UTC"))
    return pa.record_batch([names, bytes_, etags, micros], listing_schema())


def _as_text(key: str) -> str:
    """A path as a key: what is no UTF-8 in it is written as escapes."""
    return os.fsencode(key).decode("utf-8", "backslashreplace")
