"""Seals a manifest: the seal is the SHA-256 of manifest.json, which has the SHA-256 of every other file.

SHA256SUMS lists them all, so that `sha256sum -c SHA256SUMS` checks the folder without this program. Each file is opened
once, and the bytes that were hashed are the bytes that are used, because a folder may change while it is read.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from warehouse.errors import ManifestError, UsageError

SUMS = "SHA256SUMS"
DOCUMENT = "manifest.json"
_CHUNK = 1 << 20
_AGAIN = "Get the manifest again from its sender."


def compute_seal(document: bytes) -> str:
    """The seal of a manifest: `sha256:` and the SHA-256 of its manifest.json."""
    return f"sha256:{hashlib.sha256(document).hexdigest()}"


def render_sums(document: bytes, files: dict[str, dict[str, Any]]) -> str:
    """Render SHA256SUMS: a line per file, sorted by name."""
    sums = {name: file["sha256"] for name, file in files.items()}
    sums[DOCUMENT] = hashlib.sha256(document).hexdigest()
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def check_sums(folder: Path, document: bytes, files: dict[str, dict[str, Any]]) -> None:
    """Raise ManifestError unless SHA256SUMS agrees with manifest.json."""
    meant = render_sums(document, files).encode()
    if read_file(folder / SUMS, len(meant)) != meant:
        raise ManifestError(f"{folder} was altered: {SUMS} and {DOCUMENT} do not agree. {_AGAIN}")


def check_seal(folder: Path, found: str, wanted: str) -> None:
    """Raise ManifestError unless a manifest has the wanted seal; UsageError if that is not a valid seal."""
    digits = wanted.strip().lower().removeprefix("sha256:")
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise UsageError("The seal is not valid. Give sha256: and 64 hex digits, as chest manifest export prints it.")
    if not found:
        raise ManifestError(f"{folder} has no seal: it is of format 1. Export it again.")
    if found != f"sha256:{digits}":
        raise ManifestError(f"{folder} is a different manifest: its seal is {found}. {_AGAIN}")


def read_file(path: Path, most: int) -> bytes:
    """Read up to `most` bytes of a file of a manifest, plus one that shows that there are more."""
    with _open_regular(path) as file:
        return file.read(most + 1)


def copy_file(path: Path, target: Path, meant: dict[str, Any]) -> None:
    """Copy a file to a private folder, and check the copy against manifest.json."""
    with HashedFile(path, meant) as file, target.open("xb") as copy:
        for chunk in _read_chunks(file):
            copy.write(chunk)
        file.check()


def hash_file(path: Path, meant: dict[str, Any]) -> None:
    """Check a file against manifest.json."""
    with HashedFile(path, meant) as file:
        for _ in _read_chunks(file):
            pass
        file.check()


class HashedFile(io.RawIOBase):
    """A file of a manifest that is hashed while it is read, once from start to end; call `check` afterwards.

    ManifestError as soon as its size differs from that in manifest.json.
    """

    def __init__(self, path: Path, meant: dict[str, Any]) -> None:
        self._path, self._meant = path, meant
        self._file = _open_regular(path)
        self._sha, self._size = hashlib.sha256(), 0
        if os.fstat(self._file.fileno()).st_size != meant["bytes"]:
            self._file.close()
            raise self._to_error("size")

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        size = self._file.readinto(buffer)
        self._size += size
        if self._size > self._meant["bytes"]:
            raise self._to_error("size")
        self._sha.update(memoryview(buffer)[:size])
        return size

    def check(self) -> None:
        """Raise ManifestError unless the whole file was read and has the hash in manifest.json."""
        if self._size != self._meant["bytes"] or self._sha.hexdigest() != self._meant["sha256"]:
            raise self._to_error("SHA-256")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _to_error(self, what: str) -> ManifestError:
        return ManifestError(
            f"{self._path.parent} was altered: {self._path.name} does not have the {what} that {DOCUMENT} states. "
            f"{_AGAIN}"
        )


def _open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, without blocking on a pipe or a device."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise ManifestError(f"{path.parent} is incomplete: {path.name} is missing. {_AGAIN}") from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ManifestError(f"{path} is not a regular file. {_AGAIN}")
    return os.fdopen(handle, "rb")


def _read_chunks(file: HashedFile) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
