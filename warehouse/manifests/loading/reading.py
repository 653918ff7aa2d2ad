"""Reads an object into memory with the checks of a download: etag, size, MD5 or S3's checksum."""

from __future__ import annotations

import time
from dataclasses import dataclass

from warehouse.errors import SourceError
from warehouse.manifests.checksums import find_proof
from warehouse.manifests.download_job import WORDS, Wanted, is_meant, open_object, read_bytes
from warehouse.object_store.base import Bucket, ReadFailure, is_md5
from warehouse.object_store.folder import FolderBucket

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an object could not be read, in a few words."""

    reason: str


def read_object(bucket: Bucket, item: Wanted) -> bytes | Failed:
    """Read an object of a manifest; what may pass is tried again."""
    reason = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(0.2 * 4**attempt)
        found = _read_once(bucket, item)
        if isinstance(found, bytes):
            return found
        reason = WORDS.get(found.reason, found.reason)
        if not found.retry:
            break
    return Failed(reason)


def _read_once(bucket: Bucket, item: Wanted) -> bytes | ReadFailure:
    try:
        content = open_object(item, bucket)
        if isinstance(content, bytes):  # those of the etag
            return content
        if isinstance(content, ReadFailure):
            return ReadFailure(content.reason, retry=False)
        if content.size != item.size or not is_meant(item, bucket, content):
            return ReadFailure("changed in the bucket since the manifest was made", retry=False)
        found = read_bytes(content)
    except SourceError as error:
        return ReadFailure(str(error))
    if len(found) != item.size:
        return ReadFailure("ended early")
    # A folder has no etag to compare with: its objects are those of the manifest by size and time of writing.
    if isinstance(bucket, FolderBucket) and not is_md5(item.etag):
        return found
    etag = item.etag if is_md5(item.etag) else content.etag
    return (
        found if find_proof(found, etag, lambda: bucket.facts(item.key)) else ReadFailure("does not match its checksum")
    )
