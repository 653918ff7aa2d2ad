"""Downloads objects on several threads: keeps, resumes or fetches each, and verifies it before renaming it."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from warehouse.errors import SourceError
from warehouse.filesystem import files
from warehouse.filesystem.tree import Tree
from warehouse.manifests import paths
from warehouse.manifests.blocks import Block, group
from warehouse.manifests.checksums import How, find_proof
from warehouse.manifests.download_folder import explain_unwritable
from warehouse.object_store.base import Bucket, Content, Facts, ReadFailure, is_md5
from warehouse.object_store.folder import FolderBucket
from warehouse.progress import Progress

_TRIES = 3
#: Where a partial file is, below the folder.
_PARTS = f"{paths.OWN}/parts"
#: Smaller partial files are fetched again instead of resumed.
_RESUMED_FROM = 1 << 20
#: The download stops after this many failed objects in a row.
_GIVEN_UP_AFTER = 50
#: What users read instead of the reasons of a refresh.
WORDS = {
    "vanished between listing and reading": "missing from the bucket",
    "no permission to read it": "no permission to read",
}


@dataclass(slots=True)
class Downloaded:
    """What a download did. `failed` has the key of every object that is missing, and why."""

    fetched: int = 0
    kept: int = 0
    bytes: int = 0  # fetched bytes
    checks: Counter[str] = field(default_factory=Counter)  # methods of verification
    failed: list[tuple[str, str]] = field(default_factory=list)


class Wanted(NamedTuple):
    """An object of the manifest, to be fetched from its source."""

    key: str
    uri: str
    path: str  # below the folder
    size: int
    etag: str
    source: str


class _StoppedError(Exception):
    """Another worker has ended the download."""


class Job:
    """One download: workers handle objects, and the calling thread collects their results."""

    def __init__(self, data: Path, buckets: dict[str, Bucket], refused: dict[str, str]) -> None:
        self._data, self._buckets, self._refused = data, buckets, refused
        self._stop = threading.Event()
        self._targets, self._tree = paths.Targets(data), Tree(data, _PARTS)
        self._in_a_row = 0

    def run(self, objects: Iterator[Wanted], total: int, workers: int, progress: Progress) -> Downloaded:
        """Handle every object; an exception in one worker ends all."""
        result = Downloaded()
        ahead: deque[tuple[Block[Wanted], Future[list[tuple[How, int] | str]]]] = deque()
        done = 0

        def settle() -> None:
            nonlocal done
            block, future = ahead.popleft()
            for item, answer in zip(block.items, future.result(), strict=True):
                _count(result, item, answer)
                done += 1
                progress("downloading", done, total)

        with ThreadPoolExecutor(workers, thread_name_prefix="download") as pool:
            try:
                for block in group(objects, _get_size, total, workers):
                    ahead.append((block, pool.submit(self._take_all, block)))
                    if len(ahead) >= 2 * workers:
                        settle()
                while ahead:
                    settle()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return result

    def _take_all(self, block: Block[Wanted]) -> list[tuple[How, int] | str]:
        return [self._take(item) for item in block.items]

    def _take(self, item: Wanted) -> tuple[How, int] | str:
        """Handle one object; returns the verification method and the bytes fetched (-1: was present), or the reason."""
        if item.uri in self._refused:
            return self._refused[item.uri]
        place = self._targets.find(item.path)
        if place is None:
            return paths.OUTSIDE
        bucket = self._buckets[item.source]
        try:
            if how := self._there(place, item, bucket):
                return how, -1
            reason = ""
            for attempt in range(_TRIES):
                if self._stop.is_set():
                    raise _StoppedError
                if attempt:
                    time.sleep(0.2 * 4**attempt)
                found = self._fetch(item, bucket)
                if not isinstance(found, ReadFailure):
                    self._in_a_row = 0
                    return found
                reason = found.reason
                if not found.retry:
                    break
            return reason
        except OSError as error:
            raise explain_unwritable(self._data, error) from None

    def _there(self, place: Path, item: Wanted, bucket: Bucket) -> How | None:
        """Verify an existing file and return the method; None if it is missing or differs."""
        try:
            found = os.lstat(place)
            if found.st_size != item.size or not stat.S_ISREG(found.st_mode):
                return None
        except FileNotFoundError:
            return None
        if isinstance(bucket, FolderBucket) and not is_md5(item.etag):
            return How.CONTENT if _has_same_content(place, bucket.stream(item.key)) else None
        if bucket.source == item.source or is_md5(item.etag):
            return find_proof(place, item.etag, lambda: bucket.facts(item.key))
        facts = bucket.facts(item.key)
        return find_proof(place, facts.etag, lambda: facts)

    def _fetch(self, item: Wanted, bucket: Bucket) -> tuple[How, int] | ReadFailure:
        """Fetch one object, resuming a partial file; OSError if it cannot be written."""
        name = hashlib.sha256(f"{item.uri}\n{item.etag}".encode()).hexdigest()
        part = self._data / _PARTS / name
        start = files.find_size_to_resume(part) if item.size >= _RESUMED_FROM else 0
        if start > item.size or start < _RESUMED_FROM:
            start = 0
        try:
            content = open_object(item, bucket, start if start < item.size else 0)
        except SourceError as error:  # the bucket has already retried
            return self._unanswered(error, retry=False)
        if isinstance(content, bytes):
            return self._write_small(name, item, content, How.MD5)
        if isinstance(content, ReadFailure):
            return ReadFailure(WORDS.get(content.reason, content.reason), retry=False)
        if content.size != item.size or not is_meant(item, bucket, content):
            return ReadFailure("changed in the bucket since the manifest was made", retry=False)
        if item.size < _RESUMED_FROM and not isinstance(bucket, FolderBucket):
            return self._fetch_small(name, item, bucket, content)
        try:
            md5 = self._write(part, start if start < item.size else 0, content)
        except SourceError as error:
            return self._unanswered(error)
        if part.stat().st_size != item.size:
            return ReadFailure("ended early")
        if isinstance(bucket, FolderBucket):
            how = How.CONTENT if _has_same_content(part, bucket.stream(item.key)) else None
        else:
            how = find_proof(part, content.etag, _fetch_facts_once(bucket, item.key), md5)
        if how is None:
            part.unlink()
            return ReadFailure("does not match its checksum")
        self._tree.place(name, item.path)
        return how, item.size - start

    def _fetch_small(self, name: str, item: Wanted, bucket: Bucket, content: Content) -> tuple[How, int] | ReadFailure:
        """The rest of it for an object that is verified in memory, before it is written."""
        try:
            body = read_bytes(content)
        except SourceError as error:
            return self._unanswered(error)
        if len(body) != item.size:
            return ReadFailure("ended early")
        how = find_proof(body, content.etag, _fetch_facts_once(bucket, item.key))
        return ReadFailure("does not match its checksum") if how is None else self._write_small(name, item, body, how)

    def _write_small(self, name: str, item: Wanted, body: bytes, how: How) -> tuple[How, int]:
        """Write an object that was verified in memory."""
        if self._stop.is_set():
            raise _StoppedError
        self._tree.write(name, item.path, body)
        return how, item.size

    def _write(self, part: Path, start: int, content: Content) -> str:
        """Append a stream to a partial file; returns the MD5 of the whole if the etag may be one."""
        md5 = hashlib.md5(usedforsecurity=False) if is_md5(content.etag) else None
        with files.open_to_resume(part, anew=not start) as file:
            if start:
                if md5:
                    left = start
                    while left and (chunk := file.read(min(left, 1 << 20))):
                        md5.update(chunk)
                        left -= len(chunk)
                file.seek(start)
                file.truncate()
            chunks = iter(content.chunks)
            while (data := next_chunk(chunks)) is not None:
                if self._stop.is_set():
                    raise _StoppedError
                if md5:
                    md5.update(data)
                file.write(data)
        return md5.hexdigest() if md5 else ""

    def _unanswered(self, error: SourceError, *, retry: bool = True) -> ReadFailure:
        """Record an object that the bucket failed to return; after many in a row, raise the error."""
        self._in_a_row += 1
        if self._in_a_row > _GIVEN_UP_AFTER:
            raise error
        return ReadFailure(str(error), retry)


def open_object(item: Wanted, bucket: Bucket, start: int = 0) -> bytes | Content | ReadFailure:
    """Open an object from an offset; a small one is read at once, and returned if it has the MD5 of the manifest.

    Larger ones are read in pieces, so that one that has grown meanwhile does not fill the memory. SourceError if the
    bucket stops responding.
    """
    if item.size < _RESUMED_FROM and is_md5(item.etag):
        return bucket.fetch(item.key, item.etag, item.size)
    return bucket.stream(item.key, start)


def next_chunk(chunks: Iterator[bytes | memoryview]) -> bytes | memoryview | None:
    """Return the next chunk of an object; a read failure is attributed to the bucket, not to the target folder."""
    try:
        return next(chunks, None)
    except OSError as error:
        raise _explain_unreadable(error) from None


def read_bytes(content: Content) -> bytes:
    """Read an object into memory; SourceError as above."""
    try:
        return b"".join(content.chunks)
    except OSError as error:
        raise _explain_unreadable(error) from None


def _explain_unreadable(error: OSError) -> SourceError:
    return SourceError(f"cannot be read: {error.strerror or error}")


def _get_size(item: Wanted) -> int:
    return item.size


def _count(result: Downloaded, item: Wanted, answer: tuple[How, int] | str) -> None:
    if isinstance(answer, str):
        result.failed.append((item.key, answer))
        return
    how, fetched = answer
    result.checks[how] += 1
    result.fetched += fetched >= 0
    result.kept += fetched < 0
    result.bytes += max(fetched, 0)


def is_meant(item: Wanted, bucket: Bucket, content: Content) -> bool:
    """Whether the object in the bucket is that of the manifest, as far as etags are comparable."""
    if bucket.source == item.source or (is_md5(item.etag) and is_md5(content.etag)):
        return content.etag == item.etag
    return True


def _fetch_facts_once(bucket: Bucket, key: str) -> Callable[[], Facts]:
    return lambda: bucket.facts(key)


def _has_same_content(place: Path, content: Content | ReadFailure) -> bool:
    """Whether a file has the bytes of an object in a folder bucket."""
    if isinstance(content, ReadFailure):
        return False
    with place.open("rb") as file:
        return all(file.read(len(chunk)) == chunk for chunk in content.chunks) and not file.read(1)
