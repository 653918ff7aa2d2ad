"""S3 Inventory: the newest complete one replaces the listing of a whole bucket.

    DESTINATION/PREFIX/SOURCE-BUCKET/CONFIG/2026-11-20T01-00Z/manifest.json, manifest.checksum
                                           /data/….csv.gz | ….orc | ….parquet

For buckets of tens of millions of objects: it needs no listing requests and does not use the source's request rate.
inventory_files.py reads the rows of a file. A refresh of a prefix, or of some patients, lists these directly.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import SourceError, UsageError
from warehouse.filesystem import files
from warehouse.object_store import inventory_files
from warehouse.object_store.base import ReadFailure, listing_schema
from warehouse.object_store.s3 import S3Bucket
from warehouse.object_store.s3_reading import read_at_most, require_length
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

#: A weekly inventory is seven days old when the next one is started, which may take S3 two more.
MAX_AGE = timedelta(days=9)

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}Z")
#: How far the clocks of S3 and of this machine may differ.
_MOST_AHEAD = timedelta(hours=1)
#: How many of the newest inventories are searched for a complete one.
_LOOK_BACK = 10
#: Bytes of a manifest.json, which has some hundred for each of its files.
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Inventory:
    """A complete inventory: its bucket, time and files (key, MD5, size, -1 if not stated); `notes` about newer ones."""

    bucket: str
    taken_at: datetime
    format: str
    columns: list[str]
    files: list[tuple[str, str, int]]
    notes: tuple[str, ...] = ()


def split_address(address: str) -> tuple[str, str]:
    """Split an address into its path without a trailing slash, and the bucket of the inventory; UsageError if it has
    another form."""
    place = address.rstrip("/")
    parts = place.removeprefix("s3://").split("/")
    if not place.startswith("s3://") or len(parts) < 3:
        raise UsageError(
            f"{address} is not an inventory. Give  s3://BUCKET/PREFIX/SOURCE-BUCKET/CONFIGURATION,  the folder with "
            "subfolders named by date, or a table of S3 Metadata: its ARN, its  ….metadata.json  or  …/*.parquet."
        )
    return place, parts[-2]


class InventoryBucket(S3Bucket):
    """A bucket on S3 listed by its newest complete inventory, which is found when it is opened; read as usual."""

    def __init__(self, url: str, settings: Settings, address: str) -> None:
        super().__init__(url, settings)
        self._address, _ = split_address(address)
        self._check_filter()
        self._place = S3Bucket(self._address, settings)
        self._inventory = find_newest(self._place, self._name)

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Stream the rows of the inventory; with a prefix, a direct listing."""
        import pyarrow as pa

        if prefix:
            self.listed_at, self.listing_note = None, ""
            yield from super().listing(prefix)
            return
        self.listed_at, self.listing_note = self._inventory.taken_at, _describe_inventory(self._inventory)
        for rows in stream_rows(self._place, self._inventory):
            yield inventory_files.strip_prefix(rows, self._below)
        yield pa.record_batch([[], [], [], []], listing_schema())

    def _check_filter(self) -> None:
        """Refuse an inventory that is configured to list only a part of the source, if permissions allow checking."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_bucket_inventory_configuration(
                Bucket=self._name, Id=self._address.rpartition("/")[2]
            )
        except (ClientError, BotoCoreError):
            return
        only = answer.get("InventoryConfiguration", {}).get("Filter", {}).get("Prefix", "")
        if not self._below.startswith(only):
            raise SourceError(
                f"{self._address} lists only keys that start with {only!r}, not all of {self.source}. "
                "Configure an inventory without that filter."
            )


def _describe_inventory(inventory: Inventory) -> str:
    days = (datetime.now(UTC) - inventory.taken_at) / timedelta(days=1)
    first = f"listed by the inventory of {inventory.taken_at:%Y-%m-%d %H:%M} UTC ({days:.1f} days old)"
    return "; ".join([first, *inventory.notes])


def find_newest(store: S3Bucket, source_bucket: str) -> Inventory:
    """Find the newest complete inventory; SourceError if there is none, if it is of another bucket or older than
    MAX_AGE, or if it lacks a column that a refresh needs."""
    names = sorted((name for name in _list_folders(store) if _DATED.fullmatch(name)), reverse=True)
    notes: list[str] = []
    for name in names[:_LOOK_BACK]:
        manifest = _read_small(store, f"{name}/manifest.json")
        checksum = _read_small(store, f"{name}/manifest.checksum")
        if manifest is None or checksum is None:
            notes.append(f"that of {name} is not complete yet")
        elif hashlib.md5(manifest, usedforsecurity=False).hexdigest() != checksum.decode(errors="replace").strip():
            notes.append(f"the manifest of {name} does not match its checksum")
        else:
            return _check_manifest(store, name, manifest, source_bucket, tuple(notes))
    if notes:
        raise SourceError(f"{store.source} has no complete inventory: {'; '.join(notes)}. Wait for the next one.")
    raise SourceError(
        f"{store.source} has no inventory: no folder named like 2026-11-20T01-00Z. Check CHEST_INVENTORY; the first "
        "inventory of a bucket may take 48 hours."
    )


def _list_folders(store: S3Bucket) -> Iterator[str]:
    after, more = "", True
    while more:
        _, names, after = store.page("", after, delimiter="/")
        more = bool(after)
        yield from (name.rstrip("/") for name in names)


def _check_manifest(store: S3Bucket, name: str, text: bytes, source_bucket: str, notes: tuple[str, ...]) -> Inventory:
    try:
        manifest: dict[str, Any] = json.loads(text)
        found = Inventory(
            str(manifest["sourceBucket"]),
            datetime.fromtimestamp(int(manifest["creationTimestamp"]) / 1000, UTC),
            str(manifest["fileFormat"]),
            inventory_files.read_columns(str(manifest["fileFormat"]), str(manifest["fileSchema"])),
            [(str(file["key"]), str(file["MD5checksum"]), int(file.get("size", -1))) for file in manifest["files"]],
            notes,
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, OSError, RecursionError) as error:
        raise SourceError(
            f"{store.source}/{name}: its manifest.json is not valid ({error!r}). Unset CHEST_INVENTORY."
        ) from None
    if found.bucket != source_bucket:
        raise SourceError(
            f"{store.source} is an inventory of {found.bucket}, not of {source_bucket}. Correct the address."
        )
    missing = inventory_files.find_missing(found.columns)
    if found.format not in inventory_files.FORMATS:
        raise SourceError(
            f"{store.source}: inventories in {found.format} cannot be read. Configure CSV, ORC or Parquet."
        )
    if missing:
        raise SourceError(
            f"{store.source}: the inventory has no {', '.join(missing)}. Add to its configuration the optional fields "
            "Size, LastModifiedDate and ETag (and for all versions, list them with their status)."
        )
    if datetime.now(UTC) - found.taken_at > MAX_AGE:
        raise SourceError(
            f"{store.source}: the newest complete inventory is of {found.taken_at:%Y-%m-%d}, more than {MAX_AGE.days} "
            "days ago. Check why there is no newer one, or unset CHEST_INVENTORY to list the bucket."
        )
    require_past(f"{store.source}/{name}", found.taken_at)
    return found


def require_past(name: str, moment: datetime, lag: timedelta = timedelta()) -> None:
    """Raise SourceError if a listing states a time that is yet to come: what the lake has learnt since would be undone.

    An hour is allowed for clocks that differ; with a `lag`, what is listed counts as older than its time by that much.
    """
    if moment - lag - datetime.now(UTC) > _MOST_AHEAD:
        raise SourceError(
            f"{name} states that it is of {moment:%Y-%m-%d %H:%M} UTC, which is yet to come. Check the clock of this "
            "machine, or unset CHEST_INVENTORY to list the bucket."
        )


def _read_small(store: S3Bucket, key: str) -> bytes | None:
    """Read a small object; None if it is missing."""
    content = store.stream(key)
    if isinstance(content, ReadFailure):
        if content.reason.startswith("vanished"):
            return None
        raise SourceError(f"{store.source}/{key}: {content.reason}. Ask for s3:GetObject on the inventory.")
    found = read_at_most(content.chunks, _MOST_BYTES)
    if len(found) > _MOST_BYTES:
        raise SourceError(f"{store.source}/{key} has more than {_MOST_BYTES >> 20} MB. Check CHEST_INVENTORY.")
    return found


def stream_rows(store: S3Bucket, inventory: Inventory) -> Iterator[pa.RecordBatch]:
    """Stream the objects of an inventory as rows of a listing, with complete keys; one file at a time is on disk, and
    is verified before it is read.

    SourceError if a file is missing, damaged or malformed.
    """
    root = f"{store.source.removeprefix('s3://').partition('/')[2]}/"
    with files.open_temporary_folder() as folder:
        path = folder / "part"
        for place, (key, md5, size) in enumerate(inventory.files, 1):
            of = f"{len(inventory.files)} of the inventory of {inventory.taken_at:%Y-%m-%d %H:%M}"
            which = f"{store.source}: file {place} of {of}"
            _fetch(store, key.removeprefix(root), md5, size, path, which)
            try:
                yield from inventory_files.read_rows(path, inventory.format, inventory.columns)
            except inventory_files.list_format_errors() as error:
                words = str(error).split("\n")[0]
                raise SourceError(f"{which} cannot be read: {words}. Nothing was changed.") from None


def _fetch(store: S3Bucket, key: str, md5: str, size: int, path: Path, which: str) -> None:
    content = store.stream(key)
    if isinstance(content, ReadFailure):
        raise SourceError(f"{which}: {content.reason}. Wait for the next inventory, or unset CHEST_INVENTORY.")
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as file:
        for chunk in content.chunks if size < 0 else require_length(content.chunks, size, which):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != md5.lower():
        raise SourceError(
            f"{which} does not match its checksum. Wait for the next inventory, or unset CHEST_INVENTORY."
        )
