"""S3 Metadata: the live inventory table of a bucket replaces its listing.

S3 keeps the table in Iceberg and brings it up to date within about an hour of each change (Amazon S3 User Guide, "S3
Metadata live inventory tables schema"). An address is one of

    arn:aws:s3tables:REGION:ACCOUNT:bucket/TABLE-BUCKET/NAMESPACE/TABLE     the table where S3 keeps it
    s3://…/00012-….metadata.json, /folder/….metadata.json                   one state of it, or of a copy
    s3://…/*.parquet, /folder/*.parquet                                     its rows, exported as Parquet

with `BUCKET=` in front where several sources have tables. metadata_rows.py reads the rows. A journal table is refused:
its records begin when it is configured, and may expire, so that it does not have all objects. As with an inventory, a
refresh of a part of the bucket lists that directly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from warehouse import aws
from warehouse.errors import SourceError, UsageError
from warehouse.object_store import inventory_files, metadata_rows
from warehouse.object_store.base import listing_schema
from warehouse.object_store.inventory import MAX_AGE, require_past
from warehouse.object_store.s3 import S3Bucket
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

#: How far a table may be behind its bucket: AWS says "typically within one hour".
LAG = timedelta(hours=2)
#: How many objects without a size, etag or time in the table are looked up in the bucket, one by one.
_MOST_LOOKUPS = 1000

_ADDRESS = re.compile(r"(?:([a-z0-9][a-z0-9.-]+)=)?(.+)", re.DOTALL)
_ARN = re.compile(r"(arn:[\w-]+:s3tables:([\w-]+):\d*:bucket/[^/]+)/([^/]+)/([^/]+)")
_NEEDED = ("bucket", "key", "sequence_number", "version_id", "is_delete_marker", "size", "last_modified_date", "e_tag")


def is_table(address: str) -> bool:
    """Whether an address is that of a metadata table, rather than of an inventory."""
    place = split_bucket(address)[1]
    return place.startswith("arn:") or place.endswith((".metadata.json", ".parquet"))


def split_bucket(address: str) -> tuple[str, str]:
    """Split an address into the bucket in front of it ("" if there is none) and the place of the table."""
    match = _ADDRESS.fullmatch(address)
    return (match[1] or "", match[2]) if match else ("", address)


class MetadataTableBucket(S3Bucket):
    """A bucket on S3 listed by its metadata table, which is opened with it; read as usual."""

    def __init__(self, url: str, settings: Settings, address: str) -> None:
        super().__init__(url, settings)
        self._settings = settings
        self._place = split_bucket(address)[1]
        self._require_active()
        self._table = _open_table(self._place, settings)
        _check_table(self._table)

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Stream the current objects of the table; with a prefix, a direct listing."""
        import pyarrow as pa

        if prefix:
            self.listed_at, self.listing_note = None, ""
            yield from super().listing(prefix)
            return
        as_of = self._table.as_of
        days = (datetime.now(UTC) - as_of) / timedelta(days=1)
        self.listed_at = as_of - LAG
        self.listing_note = f"listed by the S3 Metadata table of {as_of:%Y-%m-%d %H:%M} UTC ({days:.1f} days old)"
        with metadata_rows.open_objects(self._table, self._name, self._settings) as objects:
            for batch in objects.stream():
                yield inventory_files.strip_prefix(batch, self._below)
            for key in self._list_incomplete(objects):
                yield from self._look_up(key)
        yield pa.record_batch([[], [], [], []], listing_schema())

    def _list_incomplete(self, objects: metadata_rows.Objects) -> list[str]:
        """The keys, below the source's prefix, of objects that the table has no size, etag or time of."""
        keys = objects.list_incomplete(self._below, _MOST_LOOKUPS + 1)
        if len(keys) > _MOST_LOOKUPS:
            raise SourceError(
                f"{self._table.name} lacks the size, etag or time of over {_MOST_LOOKUPS:,} objects. Nothing was "
                "changed. Unset CHEST_INVENTORY to list the bucket."
            )
        return [key[len(self._below) :] for key in keys]

    def _look_up(self, key: str) -> Iterator[pa.RecordBatch]:
        import pyarrow.compute as pc

        for batch in super().listing(key):
            yield batch.filter(pc.equal(batch.column("key"), key))

    def _require_active(self) -> None:
        """Refuse a table that S3 is still filling, if permissions allow checking."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not self._place.startswith("arn:"):
            return
        try:
            answer = self._client.get_bucket_metadata_configuration(Bucket=self._name)
        except (ClientError, BotoCoreError):
            return
        found = answer.get("GetBucketMetadataConfigurationResult", {}).get("MetadataConfigurationResult", {})
        status = found.get("InventoryTableConfigurationResult", {}).get("TableStatus", "")
        if status and status.upper() != "ACTIVE":
            raise SourceError(
                f"{self.source}: its inventory table is not complete yet (status {status}). Wait until it is ACTIVE, "
                "or unset CHEST_INVENTORY to list the bucket."
            )


def _open_table(place: str, settings: Settings) -> metadata_rows.Table:
    if place.startswith("arn:"):
        return metadata_rows.open_iceberg(_find_metadata(place, settings), place, settings)
    if place.endswith(".metadata.json"):
        return metadata_rows.open_iceberg(place, place, settings)
    return metadata_rows.open_parquet(place, settings)


def _find_metadata(arn: str, settings: Settings) -> str:
    """Where the current metadata file of a table in a table bucket is."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    match = _ARN.fullmatch(arn)
    if not match:
        raise UsageError(
            f"{arn} is not a table. Give  arn:aws:s3tables:REGION:ACCOUNT:bucket/TABLE-BUCKET/NAMESPACE/TABLE,  as "
            "aws s3api get-bucket-metadata-configuration  shows them: TableBucketArn, TableNamespace, TableName."
        )
    bucket, region, namespace, name = match.groups()
    config = Config(**aws.client_timeouts(settings))
    try:
        client = aws.create_session().client("s3tables", region_name=region, config=config)
        answer = client.get_table_metadata_location(tableBucketARN=bucket, namespace=namespace, name=name)
    except (ClientError, BotoCoreError) as error:
        raise SourceError(
            f"{arn}: {aws.to_one_line(error)} Check CHEST_INVENTORY and the right s3tables:GetTableMetadataLocation."
        ) from None
    if not answer.get("metadataLocation"):
        raise SourceError(f"{arn} has no data yet. Wait until S3 has filled it.")
    place = str(answer["metadataLocation"])
    if not re.match("s3://[^/]", place):  # from a server that would have this machine read its own files
        raise SourceError(f"{arn} is not on S3, according to the server. Check AWS_ENDPOINT_URL.")
    return place


def _check_table(table: metadata_rows.Table) -> None:
    """Raise SourceError for a table that is no live inventory table, or that is too old."""
    if "record_type" in table.columns:
        raise SourceError(
            f"{table.name} is a journal table: its records begin when it was configured, so that older objects are "
            "not in it. Give the live inventory table of the bucket."
        )
    if missing := [name for name in _NEEDED if name not in table.columns]:
        raise SourceError(f"{table.name} is not a live inventory table: it has no {', '.join(missing)}.")
    if datetime.now(UTC) - table.as_of > MAX_AGE:
        raise SourceError(
            f"{table.name} is as it was on {table.as_of:%Y-%m-%d}, more than {MAX_AGE.days} days ago. Give a newer "
            "state of the table (its ARN is always the newest), or unset CHEST_INVENTORY to list the bucket."
        )
    require_past(table.name, table.as_of, LAG)
