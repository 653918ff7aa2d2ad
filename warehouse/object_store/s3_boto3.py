"""Reads an object of S3 by boto3: keys that obstore cannot represent, odd answers, and checksums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from warehouse import aws
from warehouse.object_store import s3_connecting
from warehouse.object_store.base import DELETED_SINCE_LISTING, DENIED, ODD_ANSWER, Content, Facts, ReadFailure
from warehouse.object_store.s3_listing import NotAListingError
from warehouse.object_store.s3_reading import require_length

#: The size of a chunk, in bytes.
_CHUNK = 1 << 20


def iterate_answers(source: str, answers: Iterable[Any]) -> Iterator[Any]:
    """Iterate over boto3's pages, converting its errors to ours."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield from answers
    except (ClientError, BotoCoreError, RecursionError) as error:
        raise aws.to_source_error(source, error) from None
    except NotAListingError:
        raise s3_connecting.to_listing_error(source) from None


def stream(client: Any, bucket: str, key: str, source: str, start: int, stop: int = 0) -> Content | ReadFailure:
    """Read an object from an offset, or a part of it; SourceError if the bucket stops responding."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    wanted = {"Range": f"bytes={start}-{stop - 1 if stop else ''}"} if start or stop else {}
    try:
        answer = client.get_object(Bucket=bucket, Key=key, **wanted)
        etag, length = answer["ETag"].strip('"'), answer["ContentLength"]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "404"):
            return DELETED_SINCE_LISTING
        if code in ("AccessDenied", "403"):
            return DENIED
        raise aws.to_source_error(source, error) from None
    except (BotoCoreError, RecursionError) as error:
        raise aws.to_source_error(source, error) from None
    except (ResponseParserError, ValueError, KeyError):  # a number or a time that is none, or no etag, no length
        return ODD_ANSWER
    chunks = iterate_answers(source, answer["Body"].iter_chunks(_CHUNK))
    return Content(etag, length + start, require_length(chunks, length, source))


def find_facts(client: Any, bucket: str, key: str) -> Facts:
    """Request an object's checksums and the size of its first part from S3."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    where = {"Bucket": bucket, "Key": key}
    try:
        head = client.head_object(**where, ChecksumMode="ENABLED")
        part = client.head_object(**where, PartNumber=1) if "-" in head["ETag"] else {}
        part_size = part["ContentLength"] if part.get("PartsCount") else 0
    except (ClientError, BotoCoreError, RecursionError, ResponseParserError, ValueError, KeyError):
        return Facts()
    whole = head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    return Facts(
        etag=head["ETag"].strip('"'),
        part_size=part_size,
        checksums={
            name.removeprefix("Checksum"): value
            for name, value in head.items()
            if name.startswith("Checksum") and name != "ChecksumType" and whole and "-" not in value
        },
        is_md5=not head.get("ServerSideEncryption", "").startswith("aws:kms") and "SSECustomerAlgorithm" not in head,
    )
