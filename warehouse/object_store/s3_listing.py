"""Lists S3 page by page, with every key exactly as in the bucket.

boto3 signs, sends and retries requests and explains errors; parsing the XML, its slowest part, is done here in one pass
per column. obstore would be as fast, but its paths drop leading and trailing slashes of keys.
"""

from __future__ import annotations

import html
import random
import re
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from warehouse.object_store.base import listing_schema

if TYPE_CHECKING:
    import pyarrow as pa

#: botocore's event between an answer and its being taken apart.
_ANSWERED = "before-parse.s3.ListObjectsV2"
_FIELDS = {name: re.compile(f"<{name}>([^<]*)</{name}>".encode()) for name in ("Key", "Size", "ETag", "LastModified")}
_NEXT = re.compile(b"<NextContinuationToken>([^<]+)</NextContinuationToken>")
_WHOLE = re.compile(rb"<ListBucketResult[\s>].*</ListBucketResult>\s*$|<ListBucketResult[^<]*/>\s*$", re.DOTALL)
_GOES_ON = b"<IsTruncated>true</IsTruncated>"
_IS_ENCODED = b"<EncodingType>url</EncodingType>"


#: The most keys of a page, by S3's API.
PAGE_SIZE = 1000
#: How often a page is asked for that comes broken.
_TRIES = 4


class NotAListingError(Exception):
    """An answer that is not a complete listing, and must not be mistaken for an empty bucket."""


def list_pages(
    client: Any, bucket: str, prefix: str, after: str = "", most: int = PAGE_SIZE
) -> Iterator[pa.RecordBatch]:
    """Stream every object below a prefix with a key after `after`, one batch per page, in a listing's columns.

    Raises boto3's errors unchanged, and NotAListingError for an answer that is not a complete listing.
    """
    more: dict[str, Any] = {"StartAfter": after} if after else {}
    if most != PAGE_SIZE:
        more["MaxKeys"] = most
    while True:
        batch, token = _fetch_whole_page(client, Bucket=bucket, Prefix=prefix, EncodingType="url", **more)
        yield batch
        if not token:
            return
        more["ContinuationToken"] = token


def _fetch_whole_page(client: Any, **asked: Any) -> tuple[pa.RecordBatch, str]:
    """Fetch a page and build its batch, with the token of the next page; a broken one is asked for again, as boto3 does
    with refused requests. Broken is one that names itself as the next, too: the listing would never end."""
    from botocore.exceptions import IncompleteReadError, ResponseStreamingError

    for attempt in range(_TRIES):
        try:
            page = _fetch_page(client, **asked)
            found = _NEXT.search(page)
            token = html.unescape(found[1].decode()) if found else ""
            if token and token == asked.get("ContinuationToken"):
                raise NotAListingError
            return _build_batch(page), token
        except (NotAListingError, IncompleteReadError, ResponseStreamingError):
            if attempt == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.5, 1.0) * 0.2 * 2**attempt)  # noqa: S311 - jitter
    raise AssertionError("unreachable")


def _fetch_page(client: Any, **asked: Any) -> bytes:
    """Fetch the XML of one page; NotAListingError if it is none."""
    from botocore.parsers import ResponseParserError

    client.meta.events.register(_ANSWERED, _keep_xml, unique_id="chest-listing")  # registered only once
    kept: list[bytes] = []
    _answers.kept = kept
    try:
        client.list_objects_v2(**asked)
    except ResponseParserError:
        raise NotAListingError from None
    finally:
        _answers.kept = None
    if not kept:
        raise NotAListingError
    return bytes(kept[-1])


#: Threads share a client, but each listing has its own answers.
_answers = threading.local()


def _keep_xml(response_dict: dict[str, Any], **_: object) -> None:
    """Keep the XML of an answer for a listing, and replace it so that boto3 does not parse it."""
    if (kept := getattr(_answers, "kept", None)) is not None and response_dict["status_code"] == 200:
        kept.append(response_dict["body"])
        response_dict["body"] = b"<ListBucketResult/>"


def _build_batch(page: bytes) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    keys, sizes, etags, times = (pattern.findall(page) for pattern in _FIELDS.values())
    is_whole = _WHOLE.search(page) and len(keys) == len(sizes) == len(etags) == len(times) == page.count(b"<Contents>")
    if not is_whole or (_GOES_ON in page and not _NEXT.search(page)):
        raise NotAListingError
    try:
        names = pa.array(_decode_keys(keys, is_encoded=_IS_ENCODED in page), pa.string())
        tags = [html.unescape(etag.decode()) if b"&" in etag else etag.decode() for etag in etags]
        return pa.record_batch(
            [
                names,
                pa.array([*map(int, sizes)], pa.int64()),
                pc.utf8_trim(pa.array(tags, pa.string()), '"'),
                pa.array(times, pa.binary()).cast(pa.string()).cast(pa.timestamp("us", tz="UTC")),
            ],
            listing_schema(),
        )
    except ValueError:  # a size, a time or a text that is none
        raise NotAListingError from None


def _decode_keys(found: list[bytes], *, is_encoded: bool) -> list[str]:
    """Decode keys: percent-encoded if the server complied with the request, otherwise plain XML."""
    from botocore.compat import unquote_str

    if is_encoded:
        return [unquote_str(key.decode()) if b"%" in key or b"+" in key else key.decode() for key in found]
    return [html.unescape(key.decode()) if b"&" in key else key.decode() for key in found]
