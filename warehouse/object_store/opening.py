"""Opens a bucket by its address: a folder, or S3."""

from __future__ import annotations

from pathlib import Path

from warehouse.engine.placeholders import refuse_placeholders
from warehouse.errors import UsageError
from warehouse.masking import find_secrets, remember_secret
from warehouse.object_store.base import Bucket
from warehouse.object_store.folder import FolderBucket
from warehouse.settings import Settings


def open_bucket(url: str, settings: Settings) -> Bucket:
    """Open the bucket at `s3://NAME[/PREFIX]` or a folder.

    UsageError if it is neither, SourceError if it cannot be listed; both messages state what to do.
    """
    if not url.strip():
        raise UsageError("No bucket was given. Run  chest refresh BUCKET  or set CHEST_SOURCE.")
    refuse_placeholders("The address of the bucket", url)
    for secret in find_secrets(url):
        remember_secret(secret)
    if url.startswith("s3://"):
        from warehouse.object_store.s3 import S3Bucket

        return S3Bucket(url, settings)
    if "://" in url:
        raise UsageError(f"{url} is not a bucket. Give s3://NAME or a folder.")
    return FolderBucket(Path(url))
