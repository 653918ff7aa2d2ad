"""A folder as a bucket: its files are the objects."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warehouse.errors import SourceError
from warehouse.object_store import beneath
from warehouse.object_store.base import (
    CHANGED_SINCE_LISTING,
    DELETED_SINCE_LISTING,
    DENIED,
    Content,
    Facts,
    ReadFailure,
    Skipped,
    listing_schema,
)

if TYPE_CHECKING:
    import pyarrow as pa

#: Chunk size of a stream, in bytes.
_CHUNK = 1 << 20
#: The most entries that a listing may skip: with more, the folder is probably the wrong one.
_MOST_SKIPPED = 100_000
_NO_UTF8 = "its name is not UTF-8: rename the file"


class FolderBucket:
    """A folder whose files are the objects; modification time and size replace the etag."""

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

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Walk the folder; a subfolder that cannot be listed is an error, never a gap. Resets `skipped`."""
        import pyarrow as pa

        from warehouse.object_store.walking import walk

        skipped: list[Skipped] = []
        self.skipped = skipped

        def skip(key: str, reason: str) -> None:
            if key.startswith(prefix):
                skipped.append(Skipped(_to_key(key), reason))
            if len(skipped) > _MOST_SKIPPED:
                raise SourceError(
                    f"The folder {self._root} has more than {_MOST_SKIPPED:,} paths that are not objects, such as "
                    f"{_to_key(key)!r}: {reason}. Give the folder that contains the files. Nothing was changed."
                )

        try:
            for found in walk(self._root, prefix, skip):
                rows = [row for row in found if row[0].startswith(prefix)] if prefix else found
                try:
                    yield _build_batch(rows)
                except UnicodeEncodeError:
                    yield _build_batch([row for row in rows if _has_key(row[0], skip)])
        except OSError as error:
            words = error.strerror or str(error)
            raise SourceError(
                f"The folder {self._root} cannot be listed whole: {words}. Nothing was changed."
            ) from None
        yield pa.record_batch([[], [], [], []], listing_schema())

    def stream(self, key: str, start: int = 0) -> Content | ReadFailure:
        """Open a file, with its current modification time and size."""
        with self._open_folder() as (root, real):
            handle = _open_handle(root, real, key)
        if isinstance(handle, ReadFailure):
            return handle
        stat = os.fstat(handle)
        return Content(f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size, _read_chunks(os.fdopen(handle, "rb"), start))

    def fetch(self, key: str, md5: str, size: int) -> Content | ReadFailure:  # noqa: ARG002
        """Open a file: a folder knows no MD5."""
        return self.stream(key)

    def read_range(self, key: str, etag: str, size: int, start: int, stop: int) -> bytes | ReadFailure:
        """Read a part of a file that has not changed since it was listed."""
        with self._open_folder() as (root, real):
            handle = _open_handle(root, real, key)
        if isinstance(handle, ReadFailure):
            return handle
        try:
            stat = os.fstat(handle)
            if stat.st_size != size or f"{stat.st_mtime_ns}-{stat.st_size}" != etag:
                return CHANGED_SINCE_LISTING
            found = os.pread(handle, stop - start, start)
        except OSError as error:
            return ReadFailure(f"cannot be read: {error.strerror}")
        finally:
            os.close(handle)
        return found if len(found) == stop - start else CHANGED_SINCE_LISTING

    @contextlib.contextmanager
    def _open_folder(self) -> Iterator[tuple[int, str]]:
        """Open the folder and yield its descriptor and real path; paths relative to a descriptor resolve faster."""
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise SourceError(f"The folder {self._root} cannot be read: {error.strerror}. Check the path.") from None
        try:
            yield root, beneath.find_real_path(root, self._root)
        finally:
            os.close(root)

    def facts(self, key: str) -> Facts:  # noqa: ARG002
        """A folder has no checksums."""
        return Facts()

    def read_into(
        self,
        buffer: memoryview,
        keys: Sequence[str],
        etags: Sequence[str],  # noqa: ARG002 - a folder has none; the size is compared
        sizes: Sequence[int],
    ) -> dict[int, ReadFailure]:
        """Read files sequentially: with small files, threads only compete for the interpreter's lock."""
        unread: dict[int, ReadFailure] = {}
        at = 0
        with self._open_folder() as (root, real):
            for place, (key, size) in enumerate(zip(keys, sizes, strict=True)):
                handle = _open_handle(root, real, key)
                if isinstance(handle, ReadFailure):
                    unread[place] = handle
                else:
                    try:
                        # Reading one byte more than listed detects a file that has grown.
                        if os.readv(handle, [buffer[at : at + size], bytearray(1)]) != size:
                            unread[place] = CHANGED_SINCE_LISTING
                    except OSError as error:
                        unread[place] = ReadFailure(f"cannot be read: {error.strerror}")
                    finally:
                        os.close(handle)
                at += size
        return unread


def _open_handle(root: int, real_root: str, key: str) -> int | ReadFailure:
    """Open a file, or return the reason why that failed."""
    try:
        return beneath.open_file(root, real_root, key)
    except beneath.RefusedError as error:
        return ReadFailure(str(error))
    except (FileNotFoundError, ValueError):  # ValueError: a character that file names cannot have
        return DELETED_SINCE_LISTING
    except PermissionError:
        return DENIED
    except OSError as error:
        return ReadFailure(f"cannot be read: {error.strerror}")


def _read_chunks(file: IO[bytes], start: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            yield chunk


def _build_batch(rows: list[tuple[str, int, int]]) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    keys, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
    names = pa.array(keys, pa.string())  # UnicodeEncodeError for a name that is not UTF-8
    bytes_, nanos = pa.array(sizes, pa.int64()), pa.array(times, pa.int64())
    etags = pc.binary_join_element_wise(nanos.cast(pa.string()), bytes_.cast(pa.string()), "-")
    micros = pc.divide(nanos, 1000).cast(pa.timestamp("us", tz="UTC"))
    return pa.record_batch([names, bytes_, etags, micros], listing_schema())


def _has_key(path: str, skip: Callable[[str, str], None]) -> bool:
    """Whether a path is a key: one that is not UTF-8 is skipped. By escapes it could not be found again, and would be
    the key of another file, whose name has them."""
    try:
        path.encode()
    except UnicodeEncodeError:
        skip(path, _NO_UTF8)
        return False
    return True


def _to_key(key: str) -> str:
    """Convert a path to what is shown of it: bytes that are not UTF-8 become escapes."""
    return os.fsencode(key).decode("utf-8", "backslashreplace")
