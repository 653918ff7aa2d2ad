"""Buckets on S3: bulk listing and reading through obstore, with boto3's credentials; boto3 for all else.

obstore is many times faster, but its paths cannot spell every key that S3 can (empty segments, `.`, control
characters). A listing that meets such a key starts again with boto3, and such a key is read with boto3.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import aws
from warehouse.bucket import (
    CHANGED,
    DENIED,
    VANISHED,
    Buffer,
    Content,
    Facts,
    Skipped,
    Unread,
    endpoint,
    listing_schema,
)
from warehouse.errors import SourceError, UsageError
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from obstore.store import S3Store

#: Bytes that a stream hands on at once, at least.
_CHUNK = 1 << 20


def _trust(bundle: str) -> dict[str, Any]:
    """obstore's options for a file of certificates that counts in place of the system's own, as it does for boto3."""
    return {"root_certificate": Path(bundle).read_bytes(), "disable_system_certificates": True} if bundle else {}


class S3Bucket:
    """A bucket on S3 or on anything that speaks its API; below a prefix when the URL has one."""

    listed_at: datetime | None = None
    listing_note = ""
    skipped: Sequence[Skipped] = ()

    def __init__(self, url: str, settings: Settings) -> None:
        self._name, _, prefix = url.removeprefix("s3://").partition("/")
        self._below = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        if "@" in self._name or ":" in self._name:
            raise UsageError(
                f"{url}: a bucket's address has no login. Give s3://BUCKET/PREFIX, and the keys by AWS_PROFILE or "
                "AWS_ACCESS_KEY_ID."
            )
        if not self._name:
            raise UsageError(f"{url}: the name of the bucket is missing, as in s3://chest-data-warehouse.")
        self.source = f"s3://{self._name}/{self._below}".rstrip("/")
        self._threads = settings.fetch_threads
        self._client, self._store = self._connect(settings)

    def _connect(self, settings: Settings) -> "tuple[Any, S3Store]":
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        try:
            session = aws.session()
            region = session.region_name or "us-east-1"
            config = Config(**aws.patience(settings))
            bundle = aws.ca_bundle(session)
            client = session.client("s3", region_name=region, config=config)
            if aws.credentials(session, self.source) is None:
                raise SourceError(
                    f"{self.source}: no AWS credentials were found. Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in."
                )
            region = self._region(client) or region
            url = endpoint(session)
        except (BotoCoreError, ValueError) as error:
            raise SourceError(f"{self.source}: {aws.one_line(error)} Check the AWS settings.") from None
        seconds = settings.request_seconds
        where: dict[str, Any] = {"endpoint": url, "virtual_hosted_style_request": False} if url else {}
        options = {
            "allow_http": url.startswith("http://"),
            "pool_max_idle_per_host": str(self._threads),
            "connect_timeout": timedelta(seconds=min(5.0, seconds)),
            "read_timeout": timedelta(seconds=seconds),
            **_trust(bundle),
        }
        store = S3Store(
            self._name,
            region=region,
            credential_provider=Boto3CredentialProvider(session),
            client_options=options,  # type: ignore[arg-type]  # its stubs do not know the certificates
            # Long enough for a short throttling to pass, too short for a user to think that nothing happens.
            retry_config={
                "max_retries": 10,
                "backoff": {"max_backoff": timedelta(seconds=5)},
                "retry_timeout": timedelta(seconds=2 * seconds),
            },
            **where,
        )
        return client, store

    def _region(self, client: Any) -> str:
        """Where the bucket lies, which need not be where the profile is; raises SourceError if it cannot be seen."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = client.list_objects_v2(Bucket=self._name, Prefix=self._below, MaxKeys=1)
        except ClientError as error:
            raise aws.explained(self.source, error) from None
        except BotoCoreError as error:
            raise aws.unreachable(self.source, error) from None
        return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))

    def listing(self, prefix: str = "") -> "Iterator[pa.RecordBatch]":
        """Stream the listing in the order S3 gives it."""
        import obstore
        import pyarrow as pa
        from obstore.exceptions import BaseError, InvalidPathError

        seen = False
        try:
            for found in obstore.list(self._store, self._folder(prefix) or None, chunk_size=10_000, return_arrow=True):
                table = pa.record_batch(found)
                seen = True
                yield self._batch(
                    table.column("path"),
                    table.column("size"),
                    table.column("e_tag"),
                    table.column("last_modified"),
                    prefix,
                )
        except InvalidPathError:
            # Keys listed twice are listed once in the end: the refresh keeps one row a key.
            yield from self._list_with_boto3(prefix)
        except BaseError as error:
            raise aws.explained(self.source, error) from None
        if not seen:
            yield pa.record_batch([[], [], [], []], listing_schema())

    def _folder(self, prefix: str) -> str:
        """What obstore may list by: whole segments, so the rest of a prefix is cut by _batch."""
        return f"{self._below}{prefix}".rpartition("/")[0]

    def _list_with_boto3(self, prefix: str) -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=f"{self._below}{prefix}"
        )
        for page in self._answers(pages):
            rows = page.get("Contents", [])
            yield self._batch(
                pa.array([row["Key"] for row in rows], pa.string()),
                pa.array([row["Size"] for row in rows], pa.int64()),
                pa.array([row["ETag"] for row in rows], pa.string()),
                pa.array([row["LastModified"] for row in rows], pa.timestamp("us", tz="UTC")),
                prefix,
            )

    def _answers(self, answers: Iterable[Any]) -> Iterator[Any]:
        """What boto3 gives bit by bit; its errors as ours."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield from answers
        except (ClientError, BotoCoreError) as error:
            raise aws.explained(self.source, error) from None

    def page(
        self, below: str, after: str, *, delimiter: str = "", most: int = 1000
    ) -> tuple[list[tuple[str, int, str]], list[str], str]:
        """One request's worth of the listing below a prefix, of the keys after one: objects as (key, size, etag),
        folders where there is a delimiter, and the key after which there are more ("" when that was all).
        """
        from botocore.exceptions import BotoCoreError, ClientError

        cut = len(self._below)
        try:
            answer = self._client.list_objects_v2(
                Bucket=self._name,
                Prefix=f"{self._below}{below}",
                Delimiter=delimiter,
                MaxKeys=min(most, 1000),
                **({"StartAfter": f"{self._below}{after}"} if after else {}),
            )
        except (ClientError, BotoCoreError) as error:
            raise aws.explained(self.source, error) from None
        rows = [(row["Key"][cut:], int(row["Size"]), row["ETag"].strip('"')) for row in answer.get("Contents", [])]
        folders = [found["Prefix"][cut:] for found in answer.get("CommonPrefixes", [])]
        last = max([*(key for key, _, _ in rows[-1:]), *(f"{folder}\U0010ffff" for folder in folders[-1:])], default="")
        return rows, folders, last if answer.get("IsTruncated") else ""

    def _batch(self, keys: Any, sizes: Any, etags: Any, times: Any, prefix: str) -> "pa.RecordBatch":
        import pyarrow as pa
        import pyarrow.compute as pc

        whole = pa.record_batch(
            [
                pc.utf8_slice_codeunits(keys, len(self._below)) if self._below else keys,
                sizes.cast(pa.int64()),
                pc.utf8_trim(etags, '"'),
                times.cast(pa.timestamp("us", tz="UTC")),
            ],
            listing_schema(),
        )
        return whole.filter(pc.starts_with(whole.column("key"), prefix)) if prefix else whole

    def read_into(
        self, buffer: memoryview, keys: Sequence[str], etags: Sequence[str], sizes: Sequence[int]
    ) -> dict[int, Unread]:
        """Read objects with many requests in flight; SourceError when the bucket does not answer any more."""

        def read(place: int, start: int) -> Unread | None:
            content = self._read_one(keys[place], etags[place])
            if isinstance(content, Unread):
                return content
            if len(content) != sizes[place]:
                return CHANGED
            buffer[start : start + len(content)] = content
            return None

        starts = [0, *accumulate(sizes)][:-1]
        with ThreadPoolExecutor(self._threads) as pool:
            answers = list(pool.map(read, range(len(keys)), starts))
        return {place: answer for place, answer in enumerate(answers) if answer}

    def _read_one(self, key: str, etag: str) -> bytes | Unread:
        import obstore
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            answer = obstore.get(self._store, f"{self._below}{key}")
            if (answer.meta["e_tag"] or "").strip('"') != etag:
                return CHANGED
            return bytes(answer.bytes())
        except (FileNotFoundError, ValueError):
            return self._read_with_boto3(key, etag)
        except (PermissionError, PermissionDeniedError, UnauthenticatedError):
            return DENIED
        except BaseError as error:
            if "InvalidObjectState" in str(error):
                return Unread("archived by S3: restore it first")
            raise aws.explained(self.source, error) from None

    def _read_with_boto3(self, key: str, etag: str) -> bytes | Unread:
        """Read a key that obstore cannot spell, or make sure that it is gone."""
        content = self._stream_with_boto3(key, 0)
        if isinstance(content, Unread):
            return content
        body = b"".join(content.chunks)
        return body if content.etag == etag else CHANGED

    def stream(self, key: str, start: int = 0) -> Content | Unread:
        """Read an object through obstore; SourceError when the bucket does not answer any more."""
        import obstore
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            answer = obstore.get(
                self._store, f"{self._below}{key}", options={"range": {"offset": start}} if start else {}
            )
        except (FileNotFoundError, ValueError):
            return self._stream_with_boto3(key, start)
        except (PermissionError, PermissionDeniedError, UnauthenticatedError):
            return DENIED
        except BaseError as error:
            if "InvalidObjectState" in str(error):
                return Unread("archived by S3: restore it first")
            raise aws.explained(self.source, error) from None
        meta = answer.meta
        return Content((meta["e_tag"] or "").strip('"'), meta["size"], self._chunks(answer))

    def _chunks(self, answer: Any) -> Iterator[Buffer]:
        from obstore.exceptions import BaseError

        try:
            for chunk in answer.stream(min_chunk_size=_CHUNK):
                yield memoryview(chunk)
        except BaseError as error:
            raise aws.explained(self.source, error) from None

    def _stream_with_boto3(self, key: str, start: int) -> Content | Unread:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(
                Bucket=self._name, Key=f"{self._below}{key}", **({"Range": f"bytes={start}-"} if start else {})
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchKey", "404"):
                return VANISHED
            if code in ("AccessDenied", "403"):
                return DENIED
            raise aws.explained(self.source, error) from None
        except BotoCoreError as error:
            raise aws.explained(self.source, error) from None
        return Content(
            answer["ETag"].strip('"'),
            answer["ContentLength"] + start,
            self._answers(answer["Body"].iter_chunks(_CHUNK)),
        )

    def facts(self, key: str) -> Facts:
        """Ask S3 for an object's checksums, and for the size of its first part."""
        from botocore.exceptions import BotoCoreError, ClientError

        where = {"Bucket": self._name, "Key": f"{self._below}{key}"}
        try:
            head = self._client.head_object(**where, ChecksumMode="ENABLED")
            part = self._client.head_object(**where, PartNumber=1) if "-" in head["ETag"] else {}
        except (ClientError, BotoCoreError):
            return Facts()
        whole = head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        return Facts(
            etag=head["ETag"].strip('"'),
            part_size=part["ContentLength"] if part.get("PartsCount") else 0,
            checksums={
                name.removeprefix("Checksum"): value
                for name, value in head.items()
                if name.startswith("Checksum") and name != "ChecksumType" and whole and "-" not in value
            },
            is_md5=not head.get("ServerSideEncryption", "").startswith("aws:kms")
            and "SSECustomerAlgorithm" not in head,
        )
