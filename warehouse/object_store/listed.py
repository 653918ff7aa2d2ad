"""Opens a bucket with what stands in for its listing, where the settings name it: S3 Inventory, or S3 Metadata."""

from __future__ import annotations

from warehouse.errors import UsageError
from warehouse.masking import find_secrets, remember_secret
from warehouse.object_store import metadata_tables
from warehouse.object_store.base import Bucket
from warehouse.object_store.inventory import InventoryBucket, split_address
from warehouse.object_store.opening import open_bucket
from warehouse.settings import Settings


def open_listed(source: str, settings: Settings) -> Bucket:
    """Open the bucket of a source, listed by what `settings.inventory` names for it; see `open_bucket`.

    The setting may have several addresses, separated by white space: inventories, whose addresses name their buckets,
    and metadata tables, as `BUCKET=ADDRESS` or, for any bucket, as `ADDRESS`. If several sources are configured, one
    without an address is listed directly; otherwise that is a UsageError.
    """
    if not settings.inventory or not (source.startswith("s3://") or not settings.sources):
        return open_bucket(source, settings)
    for secret in find_secrets(settings.inventory):
        remember_secret(secret)
    name = source.removeprefix("s3://").partition("/")[0]
    addresses = settings.inventory.split()
    buckets = [_find_bucket(address) for address in addresses]
    if not source.startswith("s3://"):
        raise UsageError(f"{source} is a folder: only buckets on S3 have inventories. Unset CHEST_INVENTORY.")
    for wanted in (name, ""):
        if wanted in buckets:
            address = addresses[buckets.index(wanted)]
            if metadata_tables.is_table(address):
                return metadata_tables.MetadataTableBucket(source, settings, address)
            return InventoryBucket(source, settings, address)
    if settings.sources:
        return open_bucket(source, settings)
    raise UsageError(
        f"{addresses[0]} is the inventory of the bucket {buckets[0]}, not of {name}. Correct CHEST_INVENTORY."
    )


def _find_bucket(address: str) -> str:
    """The bucket that an address is for; "" for any."""
    if metadata_tables.is_table(address):
        return metadata_tables.split_bucket(address)[0]
    return split_address(address)[1]
