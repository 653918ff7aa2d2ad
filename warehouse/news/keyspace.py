"""Looking at a part of a bucket: the folders below one, and so many objects in the order of their keys."""

import os
from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

from warehouse.bucket import Bucket
from warehouse.bucket_s3 import S3Bucket
from warehouse.errors import SourceError

#: key, size, etag
Row: TypeAlias = tuple[str, int, str]


def folders(bucket: Bucket, below: str, after: str, pages: int) -> tuple[list[str], int, bool]:
    """The folders right below one (as prefixes that end in a slash), from `after` on: what so many requests give,
    how many were made, and whether that was all."""
    if not isinstance(bucket, S3Bucket):
        return _subfolders(bucket.source, below), 1, True
    found: list[str] = []
    for page in range(1, pages + 1):
        _, names, more = bucket.page(below, after, delimiter="/")
        found += names
        if not more:
            return found, page, True
        after = more
    return found, pages, False


def objects(bucket: Bucket, after: str, most: int) -> list[Row]:
    """Up to so many objects whose keys come after one, in the order of keys (that of their UTF-8 bytes)."""
    if not isinstance(bucket, S3Bucket):
        try:
            return [*islice(_walk(bucket.source, "", after), most)]
        except OSError as error:
            raise SourceError(f"The folder {bucket.source} cannot be listed: {error.strerror}. Check it.") from None
    found: list[Row] = []
    while len(found) < most:
        rows, _, more = bucket.page("", after, most=most - len(found))
        found += rows
        if not more:
            break
        after = more
    return found


def _subfolders(root: str, below: str) -> list[str]:
    try:
        with os.scandir(f"{root}/{below}") as entries:
            return sorted(f"{below}{_text(entry.name)}/" for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SourceError(f"The folder {root} cannot be listed: {error.strerror}. Check it.") from None


def _walk(root: str, below: str, after: str) -> Iterator[Row]:
    """The files below a folder as rows of a listing; what stands before `after` is not even opened."""
    with os.scandir(f"{root}/{below}") as found:
        entries = sorted((f"{below}{entry.name}{'/' if entry.is_dir() else ''}", entry) for entry in found)
    for key, entry in entries:
        if key.endswith("/"):
            if key > after or after.startswith(key):
                yield from _walk(root, key, after)
        elif key > after:
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue
            yield _text(key), stat.st_size, f"{stat.st_mtime_ns}-{stat.st_size}"


def _text(name: str) -> str:
    """A name as a listing spells it: one that is no UTF-8 with its odd bytes escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
