"""Buckets on S3: reading through obstore, with boto3's credentials; boto3 for everything else.

obstore is many times faster, but its paths cannot represent every S3 key (leading or trailing slashes, empty segments,
`.`, control characters): such keys are read with boto3, as are servers from which obstore could be redirected. Keys are
listed unchanged (s3_listing.py). Both clients are of s3_connecting.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from warehouse import aws
from warehouse.errors import SourceError, UsageError
from warehouse.object_store import s3_boto3, s3_connecting
from warehouse.object_store.base import (
    CHANGED_SINCE_LISTING,
    DENIED,
    Buffer,
    Content,
    Facts,
    ReadFailure,
    Skipped,
)
from warehouse.object_store.s3_ranges import list_by_ranges
from warehouse.object_store.s3_reading import Etags, has_md5, read_all, read_as_listed, read_at_most, require_length
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from obstore import GetResult

#: The least chunk size of a stream, in bytes.
_CHUNK = 1 << 20
#: A segment of a key that obstore drops or refuses: an empty one, `.` or `..`.
_DOTS = re.compile(r"(^|/)\.{0,2}(/|$)")
_ODD_ENDS = ("", "/", ".")


def is_spellable(key: str) -> bool:
    """Whether obstore can read a key unchanged: it drops outer slashes and refuses some segments."""
    if not key.isprintable():
        return False
    # For nearly all keys this is enough, at a fifth of the time.
    if "//" not in key and "/." not in key and key[:1] not in _ODD_ENDS and key[-1:] not in _ODD_ENDS:
        return True
    return _DOTS.search(key) is None


# Python asks for what an `except` catches only once something was raised, so that no object waits for these imports.


def _any_error() -> type[Exception]:
    """The errors of obstore that are not also built into Python."""
    from obstore.exceptions import BaseError

    return BaseError


def _denials() -> tuple[type[Exception], ...]:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    return PermissionError, PermissionDeniedError, UnauthenticatedError


class S3Bucket:
    """A bucket on S3 or a compatible service; limited to the prefix of the URL, if any."""

    listed_at: datetime | None = None
    listing_note = ""
    skipped: Sequence[Skipped] = ()

    def __init__(self, url: str, settings: Settings) -> None:
        self._name, _, prefix = url.removeprefix("s3://").partition("/")
        self._below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        if "@" in self._name or ":" in self._name:
            raise UsageError(
                f"{url}: an address must not have a login. Give s3://BUCKET/PREFIX, and the keys by AWS_PROFILE or "
                "AWS_ACCESS_KEY_ID."
            )
        if not self._name:
            raise UsageError(f"{url}: the name of the bucket is missing. Example: s3://chest-data-warehouse")
        self.source = f"s3://{self._name}/{self._below}".rstrip("/")
        self._threads = settings.fetch_threads
        self._listers = min(s3_connecting.MOST_LISTERS, settings.fetch_threads)
        self._etags = Etags(is_compared=bool(settings.check_etags))
        self._client, self._store = s3_connecting.connect(self.source, self._name, self._below, settings)

        import obstore

        self._obstore_get = obstore.get  # not imported for each object: that costs a tenth of a request

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Stream the listing, a large one in any order, with keys relative to the bucket's prefix."""
        import pyarrow.compute as pc

        for batch in s3_boto3.iterate_answers(
            self.source, list_by_ranges(self._client, self._name, f"{self._below}{prefix}", self._listers)
        ):
            if not self._below:
                yield batch
                continue
            yield batch.set_column(0, "key", pc.utf8_slice_codeunits(batch.column("key"), len(self._below)))

    def page(
        self, below: str, after: str, *, delimiter: str = "", most: int = 1000
    ) -> tuple[list[tuple[str, int, str]], list[str], str]:
        """Request one page of the listing below a prefix, of keys after `after`: objects as (key, size, etag), folders
        if there is a delimiter, and the key after which the next page begins ("" if this was the last).
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        cut = len(self._below)
        try:
            answer = self._client.list_objects_v2(
                Bucket=self._name,
                Prefix=f"{self._below}{below}",
                Delimiter=delimiter,
                MaxKeys=min(most, 1000),
                **({"StartAfter": f"{self._below}{after}"} if after else {}),
            )
            rows = [(row["Key"][cut:], int(row["Size"]), row["ETag"].strip('"')) for row in answer.get("Contents", [])]
            folders = [found["Prefix"][cut:] for found in answer.get("CommonPrefixes", [])]
        except (ClientError, BotoCoreError, RecursionError) as error:
            raise aws.to_source_error(self.source, error) from None
        except (ResponseParserError, ValueError, KeyError):
            raise s3_connecting.to_listing_error(self.source) from None
        last = max([*(key for key, _, _ in rows[-1:]), *(f"{folder}\U0010ffff" for folder in folders[-1:])], default="")
        return rows, folders, last if answer.get("IsTruncated") else ""

    def read_into(
        self, buffer: memoryview, keys: Sequence[str], etags: Sequence[str], sizes: Sequence[int]
    ) -> dict[int, ReadFailure]:
        """Read objects with many concurrent requests; SourceError if the bucket denies access altogether."""
        return read_all(self._get, self.facts, self._etags, self._threads, buffer, keys, etags, sizes)

    def read_range(self, key: str, etag: str, size: int, start: int, stop: int) -> bytes | ReadFailure:
        """Read a part of an object; SourceError for an error of the bucket. All of one is compared with its MD5."""
        if start == 0 and stop == size:
            return read_as_listed(self._get, lambda: self.facts(key), self._etags, key, etag, size)
        found = self._get(key, start=start, stop=stop)
        if isinstance(found, bytes | ReadFailure):
            return found
        given, body = found
        if len(body) > stop - start:  # from a server that ignores ranges
            body = body[start:stop]
        return body if given == etag and len(body) == stop - start else CHANGED_SINCE_LISTING

    def fetch(self, key: str, md5: str, size: int) -> bytes | Content | ReadFailure:
        """Read a small object at once: its bytes if they have this MD5, and otherwise what `stream` returns.

        SourceError if the bucket stops responding.
        """
        path = f"{self._below}{key}"
        answer = None if self._store is None or not is_spellable(path) else self._open(path)
        if answer is None:
            return self._stream_with_boto3(key, 0)
        if isinstance(answer, ReadFailure):
            return answer
        chunks: Iterator[Buffer] | None = None
        if answer.range == (0, size):  # or else it may have become too large for the memory
            try:
                body = self._read_body(answer, size)
            except _any_error() as error:
                raise aws.to_source_error(self.source, error) from None
            if has_md5(body, md5, size):
                return body
            chunks = iter((body,))
        meta = answer.meta
        chunks = chunks or self._read_chunks(answer)
        return Content((meta["e_tag"] or "").strip('"'), meta["size"], chunks)

    def _get(
        self, key: str, md5: str = "", size: int = 0, *, start: int = 0, stop: int = 0
    ) -> bytes | tuple[str, bytes] | ReadFailure:
        """Get the etag and bytes of a small object, or of a part of one, or the reason of the failure.

        Only the bytes if they have this MD5: to ask for the etag then would cost a tenth of a request.
        """
        path = f"{self._below}{key}"
        if self._store is None or not is_spellable(path):
            return self._get_with_boto3(key, size, start, stop)
        part: Any = {"range": (start, stop)} if stop else None
        try:
            answer = self._obstore_get(self._store, path, options=part)
            body = self._read_body(answer, stop - start if stop else size)
            return body if md5 and has_md5(body, md5, size) else ((answer.meta["e_tag"] or "").strip('"'), body)
        except (FileNotFoundError, ValueError):
            pass
        except _denials():
            return DENIED
        except _any_error() as error:
            # Some servers answer non-partially if a range is all of an object.
            if not aws.is_odd_answer(error) and not (part and "non-partial" in str(error)):
                return self._to_read_failure(error)
        return self._get_with_boto3(key, size, start, stop)

    @staticmethod
    def _read_body(answer: GetResult, most: int) -> bytes:
        """The body of a small object; of one of more than `most` bytes the beginning, which shows that it is longer."""
        # All chunks but the last have at least this size: the first is all of it, and no second need be asked for.
        return bytes(next(iter(answer.stream(min_chunk_size=most + 1)), b""))

    def _get_with_boto3(self, key: str, size: int, start: int, stop: int) -> tuple[str, bytes] | ReadFailure:
        """The same for a key that obstore cannot represent, or to confirm that it is gone."""
        try:
            content = self._stream_with_boto3(key, start, stop)
            if isinstance(content, ReadFailure):
                return content
            # A server that ignores ranges sends what is before the part, too.
            return content.etag, read_at_most(content.chunks, stop or size)
        except SourceError as error:
            cause = error.__context__
            return (
                self._to_read_failure(cause)
                if isinstance(cause, Exception)
                else ReadFailure("it cannot be read", error=error)
            )

    def _to_read_failure(self, error: Exception) -> ReadFailure:
        """Convert an error about an object; raises SourceError for an error about the bucket."""
        if "InvalidObjectState" in str(error):
            return ReadFailure("archived by S3: restore it first")
        explained = aws.to_source_error(self.source, error)
        if not aws.is_of_one_object(error):
            raise explained from None
        return ReadFailure(aws.describe_refusal(error), error=explained)

    def stream(self, key: str, start: int = 0) -> Content | ReadFailure:
        """Read an object through obstore; SourceError if the bucket stops responding."""
        path = f"{self._below}{key}"
        answer = None if self._store is None or not is_spellable(path) else self._open(path, start)
        if answer is None:
            return self._stream_with_boto3(key, start)
        if isinstance(answer, ReadFailure):
            return answer
        meta = answer.meta
        return Content((meta["e_tag"] or "").strip('"'), meta["size"], self._read_chunks(answer))

    def _open(self, path: str, start: int = 0) -> GetResult | ReadFailure | None:
        """obstore's answer to a request for an object; None if boto3 has to ask for it."""
        assert self._store is not None
        part: Any = {"range": {"offset": start}} if start else None
        try:
            return self._obstore_get(self._store, path, options=part)
        except (FileNotFoundError, ValueError):
            return None
        except _denials():
            return DENIED
        except _any_error() as error:
            if "InvalidObjectState" in str(error):
                return ReadFailure("archived by S3: restore it first")
            if aws.is_odd_answer(error):
                return None
            raise aws.to_source_error(self.source, error) from None

    def _read_chunks(self, answer: GetResult) -> Iterator[Buffer]:
        start, stop = answer.range
        chunks = answer.stream(min_chunk_size=min(stop - start + 1, _CHUNK))
        try:
            yield from require_length(map(memoryview, chunks), stop - start, self.source)
        except _any_error() as error:
            raise aws.to_source_error(self.source, error) from None

    def _stream_with_boto3(self, key: str, start: int, stop: int = 0) -> Content | ReadFailure:
        return s3_boto3.stream(self._client, self._name, f"{self._below}{key}", self.source, start, stop)

    def facts(self, key: str) -> Facts:
        """Request an object's checksums and the size of its first part from S3."""
        return s3_boto3.find_facts(self._client, self._name, f"{self._below}{key}")
