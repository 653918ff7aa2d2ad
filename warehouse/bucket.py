"""Buckets: list and read the objects of a folder by plain file calls, or of S3 (warehouse/bucket_s3.py).

A listing is streamed as Arrow batches (key, size, etag, last_modified) and never held as Python objects.
Reading fills one buffer with many objects, and says which could not be had and why; it raises only when the
bucket as a whole has become unreadable.
"""

import contextlib
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

from warehouse.errors import SourceError, UsageError
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

#: How a walk through a folder is shared out: so many levels are opened until there are so many folders, of
#: which a thread takes so many at a time.
_LEVELS, _SHARES, _SHARE, _THREADS = 4, 1024, 64, 2

#: Bytes that a stream reads at once.
_CHUNK = 1 << 20


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


class Bucket(Protocol):
    """What a refresh, and a download, need of a bucket."""

    source: str
    #: When what the last listing showed was so; None: when it was made. And what there is to say about that.
    listed_at: datetime | None
    listing_note: str

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
        try:
            with os.scandir(self._root):
                pass
        except OSError as error:
            raise SourceError(f"The folder {self._root} cannot be listed: {error.strerror}. Check the path.") from None

    def listing(self, prefix: str = "") -> "Iterator[pa.RecordBatch]":
        """Walk the folder; a folder inside that cannot be listed is an error, never a gap."""
        import pyarrow as pa

        start = f"{self._root}/{prefix.rpartition('/')[0]}".rstrip("/")
        try:
            for rows in _walk(start, len(self._root) + 1):
                yield _batch([row for row in rows if row[0].startswith(prefix)] if prefix else rows)
        except OSError as error:
            words = error.strerror or str(error)
            raise SourceError(
                f"The folder {self._root} cannot be listed whole: {words}. Nothing was changed."
            ) from None
        yield pa.record_batch([[], [], [], []], listing_schema())

    def stream(self, key: str, start: int = 0) -> Content | Unread:
        """Open a file; its time of writing and size as they are now."""
        try:
            file = open(f"{self._root}/{key}", "rb")  # noqa: PTH123, SIM115 - plain calls; closed by the stream
        except FileNotFoundError:
            return VANISHED
        except PermissionError:
            return DENIED
        except OSError as error:
            return Unread(f"cannot be read: {error.strerror}")
        stat = os.fstat(file.fileno())
        return Content(f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size, _chunks(file, start))

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
        # Below an open folder a path is shorter to walk, for the system too.
        root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for place, (key, size) in enumerate(zip(keys, sizes, strict=True)):
                try:
                    handle = os.open(key, os.O_RDONLY, dir_fd=root)
                    try:
                        # One byte more than was listed shows a file that has grown.
                        if os.readv(handle, [buffer[at : at + size], bytearray(1)]) != size:
                            unread[place] = CHANGED
                    finally:
                        os.close(handle)
                except FileNotFoundError:
                    unread[place] = VANISHED
                except PermissionError:
                    unread[place] = DENIED
                except OSError as error:
                    unread[place] = Unread(f"cannot be read: {error.strerror}")
                at += size
        finally:
            os.close(root)
        return unread


def _chunks(file: IO[bytes], start: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            yield chunk


def _walk(top: str, cut: int) -> Iterator[list[tuple[str, int, int]]]:
    """Every file below `top` as lists of (key, size, time of writing in ns).

    The upper folders are opened one by one until there are enough of them to share out; below, pyarrow walks
    outside the interpreter's lock. Links to files are followed; links to folders too, in the upper folders.
    """
    folders: list[str] = [top] if os.path.isdir(top) else []  # noqa: PTH112 - plain calls, as below
    files: list[str] = []
    for _ in range(_LEVELS):
        if len(folders) >= _SHARES:
            break
        above, folders = folders, []
        for folder in above:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (folders if entry.is_dir() else files).append(entry.path)
    yield _stat(files, cut)
    ahead: deque[Future[list[tuple[str, int, int]]]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="walk") as pool:
        for at in range(0, len(folders), _SHARE):
            ahead.append(pool.submit(_files_below, folders[at : at + _SHARE], cut))
            if len(ahead) > 2 * _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _stat(paths: list[str], cut: int) -> list[tuple[str, int, int]]:
    rows = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # gone since, or a link to nowhere: not an object
            stat = os.stat(path)  # noqa: PTH116
            rows.append((path[cut:], stat.st_size, stat.st_mtime_ns))
    return rows


def _files_below(folders: list[str], cut: int) -> list[tuple[str, int, int]]:
    from pyarrow.fs import FileSelector, FileType, LocalFileSystem

    system = LocalFileSystem()
    try:
        return [
            (info.path[cut:], info.size, info.mtime_ns)
            for folder in folders
            for info in system.get_file_info(FileSelector(folder, allow_not_found=True, recursive=True))
            if info.type == FileType.File
        ]
    except UnicodeDecodeError:  # a file name that is no UTF-8: slower, but it does not stop the others
        return [
            row
            for folder in folders
            for above, _, names in os.walk(folder, onerror=_raise)
            for row in _stat([f"{above}/{name}" for name in names], cut)
        ]


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _batch(rows: list[tuple[str, int, int]]) -> "pa.RecordBatch":
    import pyarrow as pa
    import pyarrow.compute as pc

    keys, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
    try:
        names = pa.array(keys, pa.string())
    except UnicodeEncodeError:  # a file name that is no UTF-8
        names = pa.array([os.fsencode(key).decode("utf-8", "backslashreplace") for key in keys], pa.string())
    bytes_, nanos = pa.array(sizes, pa.int64()), pa.array(times, pa.int64())
    etags = pc.binary_join_element_wise(nanos.cast(pa.string()), bytes_.cast(pa.string()), "-")
    micros = pc.divide(nanos, 1000).cast(pa.timestamp("us", tz="UTC"))
    return pa.record_batch([names, bytes_, etags, micros], listing_schema())
