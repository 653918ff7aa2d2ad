"""Downloads a manifest's objects: in parallel, resumable, each checked before it gets its name.

    data/training/Covid1/images/2020-03-02/….dcm    an object under its key, there whole or not at all
    data/.chest/                                    parts of objects, and the lock of the download that runs
    data/INCOMPLETE                                 there until every object is; says what is missing

Run again, it goes on: what is there and is what it should be is kept, parts are continued, all else is fetched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.errors import ManifestError, SourceError, UsageError
from warehouse.filesystem import files
from warehouse.manifests import paths
from warehouse.manifests.checksums import How, check
from warehouse.manifests.contents import Contents, connect
from warehouse.manifests.document import show
from warehouse.manifests.files import abbreviate, find_place, name_source_folders
from warehouse.manifests.manifest import Manifest
from warehouse.manifests.sources import resolve_sources
from warehouse.object_store.base import Bucket, Content, Facts, ReadFailure, is_md5
from warehouse.object_store.folder import FolderBucket
from warehouse.object_store.opening import open_bucket
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb

_TRIES = 3
#: A part smaller than this is not worth a request for its rest.
_RESUMED_FROM = 1 << 20
#: After so many objects in a row that the bucket did not give, it is no use to go on.
_GIVEN_UP_AFTER = 50

_ADVICE = {
    errno.ENOSPC: "the disk is full. Make room and run it again: it goes on from here",
    errno.EDQUOT: "the quota is used up. Make room and run it again: it goes on from here",
    errno.EACCES: "no permission to write there. Choose another folder, or ask for the right",
    errno.EPERM: "no permission to write there. Choose another folder, or ask for the right",
    errno.EROFS: "the file system is read-only. Choose another folder",
    errno.EFBIG: "a file would be larger than the file system takes. Choose another folder",
    errno.ENAMETOOLONG: "a key is longer than the file system takes. Choose another folder",
}


@dataclass(slots=True)
class Downloaded:
    """What a download did. `failed` has the key of every object that is not there, and why."""

    fetched: int = 0
    kept: int = 0
    bytes: int = 0  # that were fetched
    checks: Counter[str] = field(default_factory=Counter)  # by what objects were checked
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    uri: str
    size: int
    etag: str
    source: str


class _StoppedError(Exception):
    """Another worker met something that ends the download."""


def download(
    manifest: Manifest,
    data: Path | str,
    *,
    workers: int = 0,
    source: str | Sequence[str] = (),
    lake_address: str = "",
    unsealed: bool = False,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
    say: Callable[[str], object] = warnings.warn,
) -> Downloaded:
    """Fetch what is not there yet into a folder, from the manifest's buckets or from those given.

    A bucket that is neither a source of the lake nor in `source` is not asked (warehouse/manifests/sources.py), and a
    manifest without a seal is not downloaded unless `unsealed`. `say` is told of keys that cannot be written, before
    anything is fetched. Objects that cannot be had are in the result's `failed`; ask it, or raise with
    `raise_for_failed`. Raises UsageError when the folder cannot be written or a source was not named, SourceError when
    a bucket does not answer, ManifestError for an altered manifest.
    """
    settings = settings or load_settings()
    data = Path(data)
    if workers < 0:
        raise UsageError("--workers is a number from 1.")
    contents = manifest.contents
    if not manifest.seal and not unsealed:
        raise ManifestError(
            f"{manifest.folder} has no seal (format 1), so nothing shows that its objects are those of its digest. "
            "Export it anew, or say --unsealed if you know where it comes from."
        )
    asked = resolve_sources(manifest, manifest.sources, source, lake_address, settings)
    buckets = {home: open_bucket(place, settings) for home, place in asked.items()}
    with contextlib.closing(connect(settings, contents)) as con, _folder(data, manifest):
        _check_room(manifest, data)
        folders = name_source_folders(manifest.sources)
        refused = _find_refused(con, contents, folders, data)
        for reason, number in Counter(refused.values()).items():
            names = [uri for uri, why in refused.items() if why == reason]
            say(f"Not fetched, {number:,} whose key {reason}: {show(abbreviate(names), 1000)}")
        job = _Job(data, buckets, folders, refused)
        total = manifest.about["counts"]["objects"]
        result = job.run(_objects(contents, con), total, workers or settings.fetch_threads, progress)
        _finish(data, manifest, result)
        return result


def raise_for_failed(manifest: Manifest, data: Path, result: Downloaded) -> None:
    """Raise ManifestError, with names, when an object is not there."""
    if not result.failed:
        return
    reasons: dict[str, list[str]] = {}
    for key, reason in result.failed:
        reasons.setdefault(reason, []).append(key)
    words = "\n".join(f"  {len(keys):,} {reason}: {abbreviate(keys)}" for reason, keys in reasons.items())
    raise ManifestError(
        f"The download is not complete: {len(result.failed):,} of {manifest.about['counts']['objects']:,} objects are "
        f"not in {data}.\n{words}\nAll of them are named in {data / paths.INCOMPLETE}."
    )


def _objects(contents: Contents, con: duckdb.DuckDBPyConnection) -> Iterator[_Object]:
    con.execute(sql_files.fill(sql_files.statements("manifests/download.sql")["objects"], rows=contents.rows))
    while rows := con.fetchmany(1000):
        yield from (_Object(*row) for row in rows)


def _find_refused(
    con: duckdb.DuckDBPyConnection, contents: Contents, folders: dict[str, str], data: Path
) -> dict[str, str]:
    """The uris that cannot be written, and why; names are tried in the folder itself."""
    try:
        with files.make_part_folder(data / paths.OWN) as trial:
            return paths.find_unwritable(con, contents.rows, folders, data, trial)
    except OSError as error:
        raise _unwritable(data, error) from None


@contextlib.contextmanager
def _folder(data: Path, manifest: Manifest) -> Iterator[None]:
    """The folder of the download, made and locked, and marked as incomplete from the start."""
    try:
        files.make_folder(data / paths.OWN / "parts", below=data)
        lock = files.open_lock(data / paths.OWN / "lock")
        _mark(data, _how_to_go_on(manifest, data))
    except OSError as error:
        raise _unwritable(data, error) from None
    with lock:
        _lock(lock, data)
        yield


def _mark(data: Path, text: str) -> None:
    with files.write_text_atomically(data / paths.INCOMPLETE) as file:
        file.write(text)


def _how_to_go_on(manifest: Manifest, data: Path) -> str:
    return (
        f"This download of {manifest.name} ({manifest.digest}) is not complete.\n"
        f"Go on:  chest manifest download {manifest.folder} -o {data}\n"
    )


def _lock(file: IO[bytes], data: Path) -> None:
    with contextlib.suppress(ImportError):  # no flock on Windows
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"Another download is writing to {data}. Wait until it is done.") from None


def _unwritable(data: Path, error: OSError) -> UsageError:
    words = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return UsageError(f"{data} cannot be written: {words}.")


def _check_room(manifest: Manifest, data: Path) -> None:
    """Refuse at once what cannot fit; what is there already, in whole or in part, counts as room."""
    needed = int(manifest.about["counts"]["bytes"])
    free = shutil.disk_usage(data).free
    if needed <= free:
        return
    there = sum(Path(above, name).lstat().st_size for above, _, names in os.walk(data) for name in names)
    if needed > free + there:
        raise UsageError(
            f"{data} has room for {(free + there) / 1e9:,.1f} GB, and the objects are {needed / 1e9:,.1f} GB. "
            "Choose another folder or make room."
        )


def _finish(data: Path, manifest: Manifest, result: Downloaded) -> None:
    try:
        if result.failed:
            missing = "".join(f"{reason}\t{show(key, 5000)}\n" for key, reason in result.failed)
            _mark(data, f"{_how_to_go_on(manifest, data)}\n{missing}")
            return
        shutil.rmtree(data / paths.OWN, ignore_errors=True)
        (data / paths.INCOMPLETE).unlink()
    except OSError as error:
        raise _unwritable(data, error) from None


class _Job:
    """One download: workers take objects, and what they find is added up by the thread that runs it."""

    def __init__(
        self, data: Path, buckets: dict[str, Bucket], folders: dict[str, str], refused: dict[str, str]
    ) -> None:
        self._data, self._buckets, self._folders, self._refused = data, buckets, folders, refused
        self._stop = threading.Event()
        self._made: set[Path] = set()
        self._in_a_row = 0

    def run(self, objects: Iterator[_Object], total: int, workers: int, progress: Progress) -> Downloaded:
        """Take care of every object; what ends the download ends all workers."""
        result = Downloaded()
        ahead: deque[tuple[_Object, Future[tuple[How, int] | str]]] = deque()
        done = 0

        def settle() -> None:
            nonlocal done
            item, future = ahead.popleft()
            answer = future.result()
            if isinstance(answer, str):
                result.failed.append((item.key, answer))
            else:
                how, fetched = answer
                result.checks[how] += 1
                result.fetched += fetched >= 0
                result.kept += fetched < 0
                result.bytes += max(fetched, 0)
            done += 1
            progress("downloading", done, total)

        with ThreadPoolExecutor(workers, thread_name_prefix="download") as pool:
            try:
                for item in objects:
                    ahead.append((item, pool.submit(self._take, item)))
                    if len(ahead) >= 4 * workers:
                        settle()
                while ahead:
                    settle()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return result

    def _take(self, item: _Object) -> tuple[How, int] | str:
        """See to one object: by what it was checked and how many bytes were fetched (-1: it was there), or why not."""
        if item.uri in self._refused:
            return self._refused[item.uri]
        place = find_place(self._data, item.key, item.uri, self._folders)
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
                found = self._fetch(place, item, bucket)
                if not isinstance(found, ReadFailure):
                    self._in_a_row = 0
                    return found
                reason = found.reason
                if not found.retry:
                    break
            return reason
        except OSError as error:
            raise _unwritable(self._data, error) from None

    def _there(self, place: Path, item: _Object, bucket: Bucket) -> How | None:
        """By what the file that is there already is found to be the object; None when there is none, or another."""
        try:
            found = place.lstat()
            if found.st_size != item.size or not stat.S_ISREG(found.st_mode):
                return None
        except FileNotFoundError:
            return None
        if isinstance(bucket, FolderBucket) and not is_md5(item.etag):
            return How.CONTENT if _same_content(place, bucket.stream(item.key)) else None
        if bucket.source == item.source or is_md5(item.etag):
            return check(place, item.etag, lambda: bucket.facts(item.key))
        facts = bucket.facts(item.key)
        return check(place, facts.etag, lambda: facts)

    def _fetch(self, place: Path, item: _Object, bucket: Bucket) -> tuple[How, int] | ReadFailure:
        """Fetch one object, going on where a part of it is there; OSError when it cannot be written."""
        name = hashlib.sha256(f"{item.uri}\n{item.etag}".encode()).hexdigest()
        part = self._data / paths.OWN / "parts" / name
        start = files.find_size_to_resume(part)
        if start > item.size or start < _RESUMED_FROM:
            start = 0
        try:
            content = bucket.stream(item.key, start if start < item.size else 0)
        except SourceError as error:  # the bucket's own tries are over
            return self._unanswered(error, retry=False)
        if isinstance(content, ReadFailure):
            return ReadFailure(_WORDS.get(content.reason, content.reason), retry=False)
        if content.size != item.size or not _is_meant(item, bucket, content):
            return ReadFailure("changed in the bucket since the manifest was made", retry=False)
        try:
            md5 = self._write(part, start if start < item.size else 0, content)
        except SourceError as error:
            return self._unanswered(error)
        if part.stat().st_size != item.size:
            return ReadFailure("ended early")
        if isinstance(bucket, FolderBucket):
            how = How.CONTENT if _same_content(part, bucket.stream(item.key)) else None
        else:
            how = check(part, content.etag, _once(bucket, item.key), md5)
        if how is None:
            part.unlink()
            return ReadFailure("does not match its checksum")
        if place.parent not in self._made:
            files.make_folder(place.parent, below=self._data)
            self._made.add(place.parent)
        part.replace(place)
        return how, item.size - start

    def _write(self, part: Path, start: int, content: Content) -> str:
        """Write a stream behind what the part has; returns the MD5 of the whole, where the etag may be one."""
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
            while (data := _next(chunks)) is not None:
                if self._stop.is_set():
                    raise _StoppedError
                if md5:
                    md5.update(data)
                file.write(data)
        return md5.hexdigest() if md5 else ""

    def _unanswered(self, error: SourceError, *, retry: bool = True) -> ReadFailure:
        """An object that the bucket failed to give; after many in a row, the error itself."""
        self._in_a_row += 1
        if self._in_a_row > _GIVEN_UP_AFTER:
            raise error
        return ReadFailure(str(error), retry)


_WORDS = {
    "vanished between listing and reading": "missing from the bucket",
    "no permission to read it": "may not be read",
}


def _next(chunks: Iterator[bytes | memoryview]) -> bytes | memoryview | None:
    """The next piece of an object; a failure to read it is the bucket's, not that of the folder written to."""
    try:
        return next(chunks, None)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from None


def _is_meant(item: _Object, bucket: Bucket, content: Content) -> bool:
    """Whether what is in the bucket is what the manifest means, as far as their etags can be compared."""
    if bucket.source == item.source or (is_md5(item.etag) and is_md5(content.etag)):
        return content.etag == item.etag
    return True


def _once(bucket: Bucket, key: str) -> Callable[[], Facts]:
    return lambda: bucket.facts(key)


def _same_content(place: Path, content: Content | ReadFailure) -> bool:
    """Whether a file has the bytes of an object that lies in a folder."""
    if isinstance(content, ReadFailure):
        return False
    with place.open("rb") as file:
        return all(file.read(len(chunk)) == chunk for chunk in content.chunks) and not file.read(1)
