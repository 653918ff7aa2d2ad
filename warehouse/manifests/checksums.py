"""Verifies that a file, or bytes, are those of an object: by an MD5 etag, else by S3's checksums, else by size."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from warehouse.object_store.base import Facts, is_md5

_PARTS = re.compile("([0-9a-f]{32})-([0-9]+)")
_MIB = 1 << 20
_CHUNK = 1 << 20

#: Usual part sizes of uploads, in MiB (boto3, s5cmd, rclone, multiples that users set).
_USUAL_MIB = (8, 5, 16, 50, 15, 10, 64, 32, 100, 128, 25, 20, 256, 512, 1024)


class How(StrEnum):
    """The method by which a file was verified."""

    MD5 = "MD5"
    PARTS = "multipart MD5"
    CHECKSUM = "S3 checksum"
    CONTENT = "content"  # compared with the object itself, in a folder bucket
    SIZE = "size alone"


def find_proof(path: Path | bytes, etag: str, facts: Callable[[], Facts], md5: str = "") -> How | None:
    """Verify a file, or bytes, of the size of the object, and return the method; None if they differ.

    `md5` is that of the file, if known. `facts` is called only if the etag alone is not enough.
    """
    if is_md5(etag):
        if (md5 or _compute_digest(path, "md5")) == etag:
            return How.MD5
        known = facts()
        return None if known.is_md5 else _prove_by_checksum(path, known)
    if parts := _PARTS.fullmatch(etag):
        return _prove_by_parts(path, etag, int(parts[2]), facts)
    return _prove_by_checksum(path, facts())


def _prove_by_parts(path: Path | bytes, etag: str, count: int, facts: Callable[[], Facts]) -> How | None:
    size = len(path) if isinstance(path, bytes) else path.stat().st_size
    if any(compute_etag(path, part) == etag for part in _list_usual_sizes(size, count)):
        return How.PARTS
    known = facts()
    # Parts need not be equal; the size of the first is of use only if it explains their number.
    is_consistent = known.part_size and -(-size // known.part_size) == count
    if is_consistent and known.is_md5 and known.etag == etag:
        return How.PARTS if compute_etag(path, known.part_size) == etag else None
    return _prove_by_checksum(path, known)


def _list_usual_sizes(size: int, count: int) -> Iterator[int]:
    """Yield the usual part sizes that split a file into `count` parts."""
    if count == 1:
        yield max(size, 1)
        return
    for mib in _USUAL_MIB:
        if -(-size // (mib * _MIB)) == count:
            yield mib * _MIB


def compute_etag(path: Path | bytes, part_size: int) -> str:
    """Compute the etag of an S3 multipart upload: the MD5 of the parts' MD5s, and their number."""
    digests: list[bytes] = []
    with _open(path) as file:
        while True:
            md5, left = hashlib.md5(usedforsecurity=False), part_size
            while left and (chunk := file.read(min(left, _CHUNK))):
                md5.update(chunk)
                left -= len(chunk)
            if left == part_size and digests:
                break
            digests.append(md5.digest())
            if left:
                break
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def _prove_by_checksum(path: Path | bytes, facts: Facts) -> How | None:
    """Verify by the first checksum that can be computed here; CRC32C and CRC64NVME cannot."""
    for name in ("SHA256", "SHA1", "CRC32"):
        if name in facts.checksums:
            found = _compute_crc32(path) if name == "CRC32" else bytes.fromhex(_compute_digest(path, name.lower()))
            return How.CHECKSUM if base64.b64encode(found).decode() == facts.checksums[name] else None
    return How.SIZE


def _compute_digest(path: Path | bytes, name: str) -> str:
    if isinstance(path, bytes):
        return hashlib.new(name, path, usedforsecurity=False).hexdigest()
    with _open(path) as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False))  # type: ignore[arg-type]
        return digest.hexdigest()


def _compute_crc32(path: Path | bytes) -> bytes:
    value = 0
    with _open(path) as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value.to_bytes(4, "big")


def _open(content: Path | bytes) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
