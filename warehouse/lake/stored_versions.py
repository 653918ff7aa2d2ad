"""What a bucket keeps of a lake's files beside their names: earlier versions, and uploads that were never finished.

A versioned bucket keeps a file that is removed or overwritten as an earlier version, until somebody removes that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warehouse.lake.location import Location

#: Parts of names of files that have rows of the lake; its other files (lake.json, lake.key) have none.
_ROWS = ".parquet"


@dataclass(frozen=True, slots=True)
class Versions:
    """What was removed, what is left, and why; `unknown` is why it is not known whether anything is left."""

    removed: int = 0
    left: int = 0
    uploads: int = 0
    why: str = ""
    unknown: str = ""


def remove_versions(location: Location) -> Versions | None:
    """Remove the earlier versions of Parquet files below a data path on S3, and unfinished uploads.

    For a writer that holds the lock: an upload there is nobody's. None for a data path that is not on S3. What S3
    refuses is counted as left, and never an error.
    """
    if not location.data_path.startswith("s3://"):
        return None
    from botocore.exceptions import BotoCoreError, ClientError

    from warehouse import aws

    bucket, _, prefix = location.data_path.removeprefix("s3://").partition("/")
    client = aws.create_session().client("s3")
    uploads, refused = _try_each(
        lambda: _list_uploads(client, bucket, prefix), lambda one: client.abort_multipart_upload(Bucket=bucket, **one)
    )
    try:
        if not client.get_bucket_versioning(Bucket=bucket).get("Status"):
            return Versions(uploads=uploads, left=len(refused), why=_first(refused))
        is_versioned = True
    except (BotoCoreError, ClientError):  # not every server knows it, and not everybody may ask
        is_versioned = False
    try:
        removed, more = _try_each(
            lambda: _list_versions(client, bucket, prefix), lambda one: client.delete_object(Bucket=bucket, **one)
        )
    except (BotoCoreError, ClientError) as error:
        if is_versioned:
            return Versions(uploads=uploads, left=1, why=_explain(error))
        return Versions(uploads=uploads, unknown=_explain(error))
    refused += more
    return Versions(removed, len(refused), uploads, _first(refused))


def _try_each(
    find: Callable[[], Iterator[dict[str, str]]], remove: Callable[[dict[str, str]], object]
) -> tuple[int, list[str]]:
    """Remove each; how many were, and why each of the others was not."""
    from botocore.exceptions import ClientError

    done, refused = 0, []
    for one in list(find()):
        try:
            remove(one)
            done += 1
        except ClientError as error:
            refused.append(_explain(error))
    return done, refused


def _list_versions(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, str]]:
    """Versions that are not the newest of their key, and marks of deletion."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            is_mark = "Size" not in one
            if _ROWS in one["Key"] and (is_mark or not one["IsLatest"]):
                yield {"Key": one["Key"], "VersionId": one["VersionId"]}


def _list_uploads(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, str]]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Uploads", ()):
                yield {"Key": one["Key"], "UploadId": one["UploadId"]}
    except (BotoCoreError, ClientError):  # a server without them
        return


def _first(refused: list[str]) -> str:
    return refused[0] if refused else ""


def _explain(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code") or type(error).__name__)
