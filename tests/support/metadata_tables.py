"""Writes a table of S3 Metadata as AWS does, from a real listing: in Iceberg by pyiceberg, or as Parquet files."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
from inventories import build_listing
from pyarrow import parquet
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from servers import S3

BUCKET = "tables"
#: The columns of a live inventory table, and those of a journal (Amazon S3 User Guide, "S3 Metadata … tables schema").
INVENTORY = pa.schema(
    [
        pa.field("bucket", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("sequence_number", pa.string(), nullable=False),
        pa.field("version_id", pa.string()),
        pa.field("is_delete_marker", pa.bool_()),
        pa.field("size", pa.int64()),
        pa.field("last_modified_date", pa.timestamp("us")),
        pa.field("e_tag", pa.string()),
        pa.field("storage_class", pa.string()),
        pa.field("is_multipart", pa.bool_()),
        pa.field("encryption_status", pa.string()),
        pa.field("is_bucket_key_enabled", pa.bool_()),
        pa.field("kms_key_arn", pa.string()),
        pa.field("checksum_algorithm", pa.string()),
        pa.field("object_tags", pa.map_(pa.string(), pa.string())),
        pa.field("user_metadata", pa.map_(pa.string(), pa.string())),
    ]
)
JOURNAL = pa.schema(
    [
        *INVENTORY,
        pa.field("record_type", pa.string(), nullable=False),
        pa.field("record_timestamp", pa.timestamp("us"), nullable=False),
        pa.field("requester", pa.string()),
        pa.field("source_ip_address", pa.string()),
        pa.field("request_id", pa.string()),
    ]
)


def build_rows(s3: S3, bucket: str) -> list[dict[str, Any]]:
    """The rows of a bucket without versions, as it is now."""
    return [
        {
            "bucket": bucket,
            "key": row["Key"],
            "sequence_number": f"80e737d8b4d82f776affffffffffffffff00{place:016x}",
            "is_delete_marker": False,
            "size": row["Size"],
            "last_modified_date": row["LastModifiedDate"].astimezone(UTC).replace(tzinfo=None),
            "e_tag": row["ETag"],
            "storage_class": "STANDARD",
            "is_multipart": "-" in row["ETag"],
            "encryption_status": "SSE-S3",
            "object_tags": [("study", "x")],
            "user_metadata": [],
        }
        for place, row in enumerate(build_listing(s3, bucket))
    ]


def to_arrow(rows: list[dict[str, Any]], schema: pa.Schema = INVENTORY) -> pa.Table:
    """The rows in the columns of a table; what a row lacks is null."""
    return pa.table(
        {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in schema}, schema
    )


class _NewFile(PyArrowFile):
    def exists(self) -> bool:
        return False


class TableBucketIO(PyArrowFileIO):
    """Writes to a table bucket, which may not be listed, as pyarrow does where it looks for a file that is new."""

    def new_output(self, location: str) -> PyArrowFile:
        file = super().new_output(location)
        return _NewFile(location=location, path=file._path, fs=file._filesystem, buffer_size=file._buffer_size)


def write_iceberg(
    s3: S3, rows: list[dict[str, Any]], where: Path | None = None, *, schema: pa.Schema = INVENTORY, location: str = ""
) -> Table:
    """Write an Iceberg table, in two commits, to the bucket `tables`, or into a folder or at another location."""
    s3.put(BUCKET, {})
    more = {"py-io-impl": f"{__name__}.TableBucketIO"} if location else {}
    keys = {"s3.endpoint": s3.endpoint, "s3.access-key-id": s3.key, "s3.secret-access-key": s3.secret}
    catalog = SqlCatalog("made", uri="sqlite:///:memory:", **keys, **more, **{"s3.region": "us-east-1"})
    catalog.create_namespace("b_bucket")
    free = s3.client().list_objects_v2(Bucket=BUCKET)["KeyCount"]
    location = location or (f"s3://{BUCKET}/{free}" if where is None else where.as_uri())
    table = catalog.create_table("b_bucket.inventory", schema, location=location)
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        if part:
            table.append(to_arrow(part, schema))
    return table


def delete_by_position(table: Table, where: Path, key: str) -> None:
    """Delete the row of a key as engines that merge on read do: by a file of positions beside the data."""
    (task,) = [task for task in table.scan().plan_files() if key in _read_keys(table, task.file.file_path)]
    found = {
        "file_path": pa.array([task.file.file_path]),
        "pos": pa.array([_read_keys(table, task.file.file_path).index(key)], pa.int64()),
    }
    path = where / f"{abs(hash(key))}-deletes.parquet"
    parquet.write_table(pa.table(found), path)
    entry = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=path.as_uri(),
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=1,
        file_size_in_bytes=path.stat().st_size,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds={},
        upper_bounds={},
        split_offsets=None,
        equality_ids=None,
        sort_order_id=None,
    )
    entry.spec_id = table.spec().spec_id
    with table.transaction() as change, change.update_snapshot().fast_append() as append:
        append.append_data_file(entry)


def _read_keys(table: Table, path: str) -> list[str]:
    with table.io.new_input(path).open() as file:
        return list(parquet.read_table(io.BytesIO(file.read()), columns=["key"]).column("key").to_pylist())


def write_parquet(rows: list[dict[str, Any]], folder: Path, *, schema: pa.Schema = INVENTORY) -> str:
    """Write the rows as two Parquet files; their address."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(2):
        parquet.write_table(to_arrow(rows[place::2], schema), folder / f"part-{place}.parquet")
    (folder / "_SUCCESS").touch()
    return f"{folder}/*.parquet"


def write_s3_table(s3: S3, rows: list[dict[str, Any]]) -> str:
    """Write a table of S3 Tables; its address."""
    client = boto3.client(
        "s3tables",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.key,
        aws_secret_access_key=s3.secret,
        region_name="us-east-1",
    )
    arn = client.create_table_bucket(name=f"aws-s3-{datetime.now(UTC):%H%M%S%f}")["arn"]
    of_table = {"tableBucketARN": arn, "namespace": "b_bucket", "name": "inventory"}
    client.create_namespace(tableBucketARN=arn, namespace=["b_bucket"])
    client.create_table(**of_table, format="ICEBERG")
    made = client.get_table(**of_table)
    table = write_iceberg(s3, rows, location=made["warehouseLocation"])
    client.update_table_metadata_location(
        **of_table, versionToken=made["versionToken"], metadataLocation=table.metadata_location
    )
    return f"{arn}/b_bucket/inventory"
