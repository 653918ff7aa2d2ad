"""Reads the files of an S3 Inventory (CSV, ORC, Parquet) as rows of a listing, in batches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from warehouse.object_store.base import listing_schema

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("CSV", "ORC", "Parquet")

#: The columns that a listing needs, by normalised name (LastModifiedDate and last_modified_date are the same).
_NEEDED = {"key": "Key", "size": "Size", "etag": "ETag", "lastmodifieddate": "LastModifiedDate"}
#: The columns of an inventory of all versions, whose objects are the latest versions except delete markers.
_LATEST, _DELETED = "islatest", "isdeletemarker"
_BATCH = 65_536


def read_columns(form: str, schema: str) -> list[str]:
    """Parse the columns of a manifest's fileSchema, in order, to normalised names."""
    if form == "CSV":
        return [_normalize_name(name) for name in schema.split(",")]
    pattern = r"(\w+):" if form == "ORC" else r"(?:required|optional) \w+ (\w+)"
    return [_normalize_name(name) for name in re.findall(pattern, schema)]


def find_missing(found: list[str]) -> list[str]:
    """List the fields that a refresh needs and an inventory lacks, by their names in its configuration."""
    names = {**_NEEDED, **({_LATEST: "IsLatest", _DELETED: "IsDeleteMarker"} if "versionid" in found else {})}
    return [title for name, title in names.items() if name not in found]


def read_rows(path: Path, form: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Stream the objects of a file as rows of a listing, with complete keys; memory holds a batch (ORC: a stripe)."""
    for batch in {"CSV": _read_csv, "ORC": _read_orc, "Parquet": _read_parquet}[form](path, names):
        yield _to_listing(batch, encoded=form == "CSV")


def list_format_errors() -> tuple[type[Exception], ...]:
    """The exceptions raised by reading a malformed file."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, KeyError, UnicodeDecodeError)


def strip_prefix(batch: pa.RecordBatch, prefix: str) -> pa.RecordBatch:
    """Select the rows whose keys start with a prefix, and remove it."""
    import pyarrow.compute as pc

    if not prefix:
        return batch
    kept = batch.filter(pc.starts_with(batch.column("key"), prefix))
    return kept.set_column(0, "key", pc.utf8_slice_codeunits(kept.column("key"), len(prefix)))


def _normalize_name(name: str) -> str:
    return name.strip().replace("_", "").lower()


def _read_csv(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Read gzipped CSV without a header, all columns as text."""
    import pyarrow as pa
    from pyarrow import csv

    wanted = [name for name in names if name in _NEEDED or name in (_LATEST, _DELETED)]
    with pa.input_stream(path, compression="gzip") as file:
        if not file.read(1):  # an empty inventory
            return
    with pa.input_stream(path, compression="gzip") as file:
        yield from csv.open_csv(
            file,
            read_options=csv.ReadOptions(column_names=names, block_size=4 << 20),
            convert_options=csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )


def _read_orc(path: Path, _: list[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import orc

    file = orc.ORCFile(str(path))
    for stripe in range(file.nstripes):
        yield _rename_columns(pa.record_batch(file.read_stripe(stripe)))


def _read_parquet(path: Path, _: list[str]) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            yield _rename_columns(batch)


def _rename_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.rename_columns([_normalize_name(name) for name in batch.schema.names])


def _to_listing(batch: pa.RecordBatch, *, encoded: bool) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, wanted in ((_LATEST, True), (_DELETED, False)):
        if name in batch.schema.names:
            flag = batch.column(name)
            if pa.types.is_string(flag.type):
                flag = pc.if_else(
                    pc.equal(flag, ""), pa.scalar(None, pa.bool_()), pc.equal(pc.utf8_lower(flag), "true")
                )
            # An object without versions has no value here.
            flag = pc.fill_null(flag, wanted)
            batch = batch.filter(flag if wanted else pc.invert(flag))
    found = batch.column("key")
    if encoded:
        found = _decode_keys(found)
    size, when = batch.column("size").cast(pa.int64()), batch.column("lastmodifieddate")
    return pa.record_batch(
        [
            found.cast(pa.string()),
            size,
            pc.utf8_trim(batch.column("etag").cast(pa.string()), '"'),
            to_utc(when),
        ],
        listing_schema(),
    )


def _decode_keys(found: pa.Array) -> pa.Array:
    """Decode keys from form encoding (`+` is a space), which few keys need."""
    import pyarrow as pa
    import pyarrow.compute as pc

    odd = pc.match_substring_regex(found, "[%+]")
    if not pc.any(odd).as_py():
        return found
    spelt = pa.array([unquote_plus(key) for key in found.filter(odd).to_pylist()], pa.string())
    return pc.replace_with_mask(found, odd, spelt)


def to_utc(when: Any) -> Any:
    """Convert times, those without a time zone being UTC, to a listing's type."""
    import pyarrow as pa
    import pyarrow.compute as pc

    utc = pa.timestamp("us", tz="UTC")
    if pa.types.is_timestamp(when.type) and when.type.tz is None:
        return pc.assume_timezone(when.cast(pa.timestamp("us")), "UTC")
    return when.cast(utc)
