"""What a bucket keeps of a lake's files beside their names: earlier versions, and uploads that were never finished.

A versioned bucket keeps a file that is removed or overwritten as an earlier version, until somebody removes that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from warehouse import aws

if TYPE_CHECKING:
    from warehouse.lake.location import Location

#: A part of the names of files that have rows; the other files of a lake (lake.json, lake.key) have none.
_ROWS = ".parquet"
Named = dict[str, str]


@dataclass(frozen=True, slots=True)
class Versions:
    """What was removed, what is left, and why; `unknown` is why it is not known whether anything is left."""

    removed: int = 0
    left: int = 0
    uploads: int = 0
    why: str = ""
    unknown: str = ""


def remove_versions(location: Location) -> Versions:
    """Remove the earlier versions of Parquet files below a data path on S3, and unfinished uploads.

    For a writer that holds the lock: an upload there is nobody's. What S3 refuses is counted as left, never an error.
    """
    bucket, _, prefix = location.data_path.removeprefix("s3://").partition("/")
    client = aws.create_session().client("s3")
    uploads = _list_uploads(client, bucket, prefix)
    open_uploads = _remove_each(uploads, lambda one: client.abort_multipart_upload(Bucket=bucket, **one))
    n_uploads = len(uploads) - len(open_uploads)
    status = _find_status(client, bucket)
    if status == "":
        return _count(open_uploads, n_uploads)
    try:
        versions, marks = _list_versions(client, bucket, prefix)
    except (BotoCoreError, ClientError) as error:
        if status:
            return _count([*open_uploads, ({}, _explain(error))], n_uploads)
        return _count(open_uploads, n_uploads, unknown=_explain(error))
    kept = _remove_each(versions, lambda one: client.delete_object(Bucket=bucket, **one))
    # Without its mark of deletion, a version that is left would be the file again.
    names = {one["Key"] for one, _ in kept}
    marks = [one for one in marks if one["Key"] not in names]
    kept_marks = _remove_each(marks, lambda one: client.delete_object(Bucket=bucket, **one))
    removed = len(versions) + len(marks) - len(kept) - len(kept_marks)
    return _count([*open_uploads, *kept, *kept_marks], n_uploads, removed)


def _count(left: list[tuple[Named, str]], uploads: int, removed: int = 0, unknown: str = "") -> Versions:
    return Versions(removed, len(left), uploads, left[0][1] if left else "", unknown)


def _remove_each(ones: Iterable[Named], remove: Callable[[Named], object]) -> list[tuple[Named, str]]:
    """Remove each; those that were not, and why."""
    left = []
    for one in ones:
        try:
            remove(one)
        except (BotoCoreError, ClientError) as error:
            left.append((one, _explain(error)))
    return left


def _find_status(client: Any, bucket: str) -> str | None:
    """Enabled, Suspended, or "" for a bucket that never had versions; None if that cannot be asked."""
    try:
        return str(client.get_bucket_versioning(Bucket=bucket).get("Status", ""))
    except (BotoCoreError, ClientError):  # not every server knows it, and not everybody may ask
        return None


def _list_versions(client: Any, bucket: str, prefix: str) -> tuple[list[Named], list[Named]]:
    """Versions that are not the newest of their key, and marks of deletion."""
    versions, marks = [], []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        versions += [one for one in page.get("Versions", ()) if not one["IsLatest"]]
        marks += page.get("DeleteMarkers", ())
    return _name(versions), _name(marks)


def _name(found: list[dict[str, Any]]) -> list[Named]:
    return [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found if _ROWS in one["Key"]]


def _list_uploads(client: Any, bucket: str, prefix: str) -> list[Named]:
    found: list[Named] = []
    try:
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            found += [{"Key": one["Key"], "UploadId": one["UploadId"]} for one in page.get("Uploads", ())]
    except (BotoCoreError, ClientError):  # a server without them, or who may not list them
        return found
    return found


def _explain(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code") or type(error).__name__)
