"""The bytes of a lake's files, in a folder or on S3: which are there, how large, and their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from warehouse.errors import LakeError, SourceError
from warehouse.filesystem import below
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.lake.location import Location

#: Bytes hashed at a time: a file may be larger than the memory that a refresh may take.
_CHUNK = 1 << 20
#: Files that are read at once. Hashing releases the interpreter's lock.
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Checksum:
    """The size of a file in bytes, and the SHA-256 of its content in hex."""

    size: int
    sha256: str


class Storage(Protocol):
    """Where the files of a lake are. Names are as in `ListedFile.path`."""

    def list_files(self) -> dict[str, int]:
        """The size of every regular file below the data path; LakeError if that cannot be listed."""

    def hash_file(self, name: str) -> Checksum | None:
        """Read a file; None if it does not exist or is no file of its own, LakeError if it cannot be read."""

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def set_aside(self, name: str, suffix: str) -> None:
        """Rename a file by a suffix, so that nothing reads it any more."""


def open_storage(location: Location, settings: Settings) -> Storage:
    """Open the storage of a lake's data path; LakeError if it cannot be reached."""
    if location.data_path.startswith("s3://"):
        return _S3(location.data_path, settings)
    if "://" in location.data_path:
        raise LakeError(f"{location.data_path} is neither a folder nor on S3: its files cannot be hashed.")
    return Folder(location.data_path)


def hash_files(storage: Storage, names: Iterable[str]) -> Iterator[tuple[str, Checksum | None]]:
    """Hash files, several at once, in the order given."""
    names = list(names)
    if len(names) < 2:
        yield from ((name, storage.hash_file(name)) for name in names)
        return
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="hash") as pool:
        try:
            yield from zip(names, pool.map(storage.hash_file, names), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class Folder:
    """Files in a folder."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def list_files(self) -> dict[str, int]:
        """The size of every regular file."""
        found = {}
        for above, _, names in os.walk(self._root, onerror=_raise):
            for name in names:
                path = Path(above, name)
                if (size := below.find_size(path)) is not None:
                    found[path.relative_to(self._root).as_posix()] = size
        return found

    def hash_file(self, name: str) -> Checksum | None:
        """Read a file in chunks."""
        hashed, size = hashlib.sha256(), 0
        try:
            with below.open_below(self._root, name) as file:
                while chunk := file.read(_CHUNK):
                    hashed.update(chunk)
                    size += len(chunk)
        except (FileNotFoundError, below.OddPathError):
            return None
        except OSError as error:
            raise LakeError(f"{self._root / name} cannot be read: {error.strerror}.") from None
        return Checksum(size, hashed.hexdigest())

    def remove(self, name: str) -> None:
        """Remove a file."""
        with contextlib.suppress(FileNotFoundError):
            (self._root / name).unlink()

    def set_aside(self, name: str, suffix: str) -> None:
        """Rename a file."""
        with contextlib.suppress(FileNotFoundError):
            (self._root / name).rename(self._root / f"{name}{suffix}")


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise LakeError(f"{error.filename} cannot be listed: {error.strerror}.") from None


class _S3:
    """Objects on S3, below the data path."""

    def __init__(self, data_path: str, settings: Settings) -> None:
        from warehouse.object_store.s3 import S3Bucket

        self._name = data_path
        with self._explain():
            self._bucket = S3Bucket(data_path, settings)

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            raise LakeError(f"The lake's files cannot be read: {error}") from None

    def list_files(self) -> dict[str, int]:
        """The size of every object."""
        found: dict[str, int] = {}
        with self._explain():
            for batch in self._bucket.listing(""):
                found.update(zip(batch.column("key").to_pylist(), batch.column("size").to_pylist(), strict=True))
        return found

    def hash_file(self, name: str) -> Checksum | None:
        """Read an object as a stream."""
        from warehouse.object_store.base import DELETED_SINCE_LISTING, ReadFailure

        name = name.removeprefix(self._name)
        with self._explain():
            content = self._bucket.stream(name)
            if content is DELETED_SINCE_LISTING:
                return None
            if isinstance(content, ReadFailure):
                raise LakeError(f"{self._name}{name} cannot be read: {content.reason}.")
            hashed, size = hashlib.sha256(), 0
            for chunk in content.chunks:
                hashed.update(chunk)
                size += len(chunk)
        return Checksum(size, hashed.hexdigest())

    def remove(self, name: str) -> None:
        """Remove an object."""
        client, bucket, key = self._address(name)
        client.delete_object(Bucket=bucket, Key=key)

    def set_aside(self, name: str, suffix: str) -> None:
        """Copy an object to its new name, and remove the old one."""
        client, bucket, key = self._address(name)
        with contextlib.suppress(client.exceptions.ClientError):  # it is gone already
            client.copy_object(Bucket=bucket, Key=f"{key}{suffix}", CopySource={"Bucket": bucket, "Key": key})
            client.delete_object(Bucket=bucket, Key=key)

    def _address(self, name: str) -> tuple[Any, str, str]:
        from warehouse import aws

        bucket, _, below = self._name.removeprefix("s3://").partition("/")
        return aws.create_session().client("s3"), bucket, f"{below}{name}"
