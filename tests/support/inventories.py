"""Writes an S3 Inventory as AWS does, from a real listing: data files, manifest.json, manifest.checksum."""

import csv
import gzip
import hashlib
import io
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
from pyarrow import orc, parquet
from servers import S3

import warehouse
from warehouse.query.status import measure_status

DESTINATION, PREFIX, CONFIG = "inventories", "lists", "weekly"
#: Name in CSV, name and type in the others.
FIELDS = {
    "Bucket": ("bucket", pa.string()),
    "Key": ("key", pa.string()),
    "VersionId": ("version_id", pa.string()),
    "IsLatest": ("is_latest", pa.bool_()),
    "IsDeleteMarker": ("is_delete_marker", pa.bool_()),
    "Size": ("size", pa.int64()),
    "LastModifiedDate": ("last_modified_date", pa.timestamp("ms")),
    "ETag": ("e_tag", pa.string()),
}
PLAIN = ("Bucket", "Key", "Size", "LastModifiedDate", "ETag")


def answers(lake: Path) -> dict[str, Any]:
    """All answers of a lake, except those about the refresh itself; with the digest of a cohort."""
    with warehouse.open(str(lake)) as wh, tempfile.TemporaryDirectory() as folder:
        everything = wh.group("all")
        found: dict[str, Any] = {
            name: sorted(map(str, everything.sql(f"from {name}").fetchall()))
            for name in ("patients", "studies", "series", "images", "clinical", "clinical_history", "headers")
        }
        found["objects"] = everything.sql(
            "select key, size, etag, date_trunc('second', last_modified), kind, available_date "
            "from raw.objects order by key"
        ).fetchall()
        patients = [patient for (patient,) in wh.patients().select("patient_id").fetchall()]
        found["digest"] = wh.cohort("prior_data", patients=patients).export(f"{folder}/prior_data").digest
        of_refresh = (
            "lake",
            "snapshot",
            "newest_published",
            "published_at",
            "refreshes",
            "tables",
            "reject_reasons",
            "sources",
        )
        found["status"] = {name: value for name, value in measure_status(everything).items() if name not in of_refresh}
    return found


def inventory_address(bucket: str) -> str:
    """What CHEST_INVENTORY takes."""
    return f"s3://{DESTINATION}/{PREFIX}/{bucket}/{CONFIG}"


def build_listing(s3: S3, bucket: str) -> list[dict[str, Any]]:
    """All objects of a bucket as an inventory has them."""
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [
        {
            "Bucket": bucket,
            "Key": row["Key"],
            "Size": row["Size"],
            "LastModifiedDate": row["LastModified"],
            "ETag": row["ETag"].strip('"'),
        }
        for page in pages
        for row in page.get("Contents", [])
    ]


def write_inventory(
    s3: S3,
    bucket: str,
    form: str,
    *,
    rows: list[dict[str, Any]] | None = None,
    taken_at: datetime | None = None,
    stated: str | float | None = None,
    fields: tuple[str, ...] = PLAIN,
    files: int = 2,
    damage: str = "",
) -> datetime:
    """Write an inventory of a bucket as it is now (or of the rows given); its time."""
    taken_at = taken_at or datetime.now(UTC)
    rows = build_listing(s3, bucket) if rows is None else rows
    root = f"{PREFIX}/{bucket}/{CONFIG}"
    entries, objects = [], {}
    for part in range(files):
        content = {"CSV": _write_csv, "ORC": _write_orc, "Parquet": _write_parquet}[form](rows[part::files], fields)
        ending = {"CSV": "csv.gz", "ORC": "orc", "Parquet": "parquet"}[form]
        key = f"{root}/data/{taken_at:%Y%m%d%H%M%S%f}-{part}.{ending}"
        md5 = hashlib.md5(content).hexdigest()
        objects[key] = content if damage != "file" else content[:-1] + bytes([content[-1] ^ 1])
        entries.append({"key": key, "size": len(content), "MD5checksum": md5})
    if damage == "missing":
        objects.popitem()
    schema = {
        "CSV": ", ".join(fields),
        "ORC": "struct<" + ",".join(f"{FIELDS[name][0]}:string" for name in fields) + ">",
        "Parquet": "message s3.inventory { "
        + " ".join(f"optional binary {FIELDS[name][0]} (UTF8);" for name in fields)
        + " }",
    }[form]
    manifest = json.dumps(
        {
            "sourceBucket": bucket,
            "destinationBucket": f"arn:aws:s3:::{DESTINATION}",
            "version": "2016-11-30",
            "creationTimestamp": stated or str(int(taken_at.timestamp() * 1000)),
            "fileFormat": form,
            "fileSchema": schema,
            "files": entries,
        }
    ).encode()
    folder = f"{root}/{taken_at:%Y-%m-%dT%H-%MZ}"
    objects[f"{folder}/manifest.json"] = manifest
    checksum = hashlib.md5(b"other" if damage == "manifest" else manifest).hexdigest()
    if damage != "unfinished":
        objects[f"{folder}/manifest.checksum"] = f"{checksum}\n".encode()
    objects[f"{root}/hive/dt={taken_at:%Y-%m-%d-%H-%M}/symlink.txt"] = b"not read"
    s3.put(DESTINATION, objects)
    return taken_at


def _write_csv(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        writer.writerow([_to_word(name, row.get(name)) for name in fields])
    return gzip.compress(text.getvalue().encode())


def _to_word(name: str, value: Any) -> str:
    if name == "Key":
        return quote_plus(value, safe="/-_.*")
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.000Z"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _build_table(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> pa.Table:
    columns = {}
    for name in fields:
        spelt, kind = FIELDS[name]
        values = [row.get(name) for row in rows]
        if name == "LastModifiedDate":
            values = [value.astimezone(UTC).replace(tzinfo=None, microsecond=0) for value in values]
        columns[spelt] = pa.array(values, kind)
    return pa.table(columns)


def _write_orc(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> bytes:
    sink = io.BytesIO()
    orc.write_table(_build_table(rows, fields), sink)
    return sink.getvalue()


def _write_parquet(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(_build_table(rows, fields), sink)
    return sink.getvalue()
