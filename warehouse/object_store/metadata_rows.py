"""Reads the rows of a metadata table of S3, from Iceberg or from Parquet files, and finds the current objects in them.

The table has a row for each version of each object, and for each delete marker. The rows are held by DuckDB, which puts
on disk what does not fit into its memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import aws
from warehouse.engine import connections, sql_files
from warehouse.errors import SourceError, UsageError
from warehouse.filesystem import files
from warehouse.object_store.base import Bucket, ReadFailure, listing_schema
from warehouse.object_store.inventory_files import to_utc
from warehouse.object_store.opening import open_bucket
from warehouse.object_store.s3_reading import require_length
from warehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_SQL = "ingest/metadata_table.sql"
_BATCH = 65_536
#: MB of rows in memory; more are on disk.
_MEMORY_MB = 256


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its address, for messages, the time of its state, its columns, and how to read some of them."""

    name: str
    as_of: datetime
    columns: list[str]
    read: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]


def open_iceberg(location: str, name: str, settings: Settings) -> Table:
    """Open the state of an Iceberg table that a metadata file describes; SourceError if it cannot be read."""
    try:
        from pyiceberg.catalog.noop import NoopCatalog
        from pyiceberg.serializers import FromInputFile
        from pyiceberg.table import StaticTable

        from warehouse.object_store.confined_io import ConfinedIO
    except ImportError:
        raise UsageError(
            "To read an Iceberg table, install pyiceberg:  pip install 'chest-data-warehouse[iceberg]'"
        ) from None
    place = location if "://" in location else Path(location).resolve().as_uri()
    reading = ConfinedIO(place, _connect(place, settings))
    with _explaining(name):
        metadata = FromInputFile.table_metadata(reading.new_input(place))
        # Not StaticTable.from_metadata: properties of the table would replace ours.
        table = StaticTable(("metadata", "table"), metadata, place, reading, NoopCatalog("none"))
        snapshot = table.current_snapshot()
        as_of = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC) if snapshot else None
    if as_of is None:
        raise SourceError(f"{name} has no data yet. Wait until S3 has filled it.")

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with _explaining(name):
            yield from table.scan(selected_fields=tuple(columns)).to_arrow_batch_reader()

    return Table(name, as_of, [field.name for field in table.schema().fields], read)


def _connect(place: str, settings: Settings) -> Any:
    """boto3's client for a table on S3; None for one in a folder."""
    if not place.startswith("s3://"):
        return None
    if "@" in place.removeprefix("s3://").partition("/")[0]:
        raise UsageError(f"{place}: an address must not have a login. Give the keys by AWS_PROFILE.")
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        session = aws.create_session()
        if aws.find_credentials(session, place) is None:
            raise SourceError(
                f"{place}: no AWS credentials were found. Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in."
            )
        config = Config(signature_version="s3v4", **aws.client_timeouts(settings))
        return session.client("s3", region_name=session.region_name or "us-east-1", config=config)
    except (BotoCoreError, ValueError) as error:
        raise SourceError(f"{place}: {aws.to_one_line(error)} Check the AWS settings.") from None


def open_parquet(place: str, settings: Settings) -> Table:
    """Open the rows of a table in Parquet files, `FOLDER/*.parquet`, as old as the oldest of them; SourceError if there
    are none, or if they cannot be read."""
    folder, _, pattern = place.rpartition("/")
    bucket = open_bucket(folder or ".", settings)
    found = [row for batch in bucket.listing() for row in batch.to_pylist()]
    found = [row for row in found if fnmatchcase(row["key"].rpartition("/")[2], pattern)]
    found.sort(key=itemgetter("key"))
    if not found:
        raise SourceError(f"{place}: there is no such file. Check CHEST_INVENTORY.")
    as_of = min(row["last_modified"] for row in found)

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for row in found:
            with _fetch(bucket, row) as file:
                yield from file.iter_batches(_BATCH, columns=[*columns])

    with _fetch(bucket, found[0]) as first:
        return Table(place, as_of, first.schema_arrow.names, read)


@contextlib.contextmanager
def _fetch(bucket: Bucket, listed: dict[str, Any]) -> Iterator[Any]:
    """Fetch a Parquet file, as it was listed, and open it."""
    from pyarrow import parquet

    name = f"{bucket.source}/{listed['key']}"
    with files.open_temporary_folder() as folder, _explaining(name):
        content = bucket.stream(listed["key"])
        if isinstance(content, ReadFailure):
            raise SourceError(f"{name}: {content.reason}. Nothing was changed.")
        if content.etag != listed["etag"]:
            raise SourceError(f"{name} changed while it was read. Nothing was changed in the lake; run it again.")
        path = folder / "part"
        with path.open("wb") as file:
            for chunk in require_length(content.chunks, listed["size"], name):
                file.write(chunk)
        with parquet.ParquetFile(path) as opened:
            yield opened


@contextlib.contextmanager
def _explaining(name: str) -> Iterator[None]:
    """Raise errors of the libraries that read a table as a SourceError of one line."""
    import pyarrow as pa

    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        NotImplementedError,
        ArithmeticError,
        RecursionError,
        pa.ArrowException,
    ) as error:
        words = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise SourceError(
            f"{name} cannot be read: {words}. Nothing was changed. Unset CHEST_INVENTORY to list the bucket."
        ) from None


class Objects:
    """The current objects of a table, as rows of a listing."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con

    def stream(self) -> Iterator[pa.RecordBatch]:
        """Stream the objects of which the table has size, etag and time."""
        import pyarrow as pa

        for batch in self._con.execute(sql_files.read_statements(_SQL)["complete"]).to_arrow_reader(_BATCH):
            columns = [*batch.columns[:3], to_utc(batch.column("last_modified"))]
            yield pa.record_batch(columns, listing_schema())

    def list_incomplete(self, below: str, most: int) -> list[str]:
        """List the keys of the others that start with `below`, `most` at most."""
        return [
            key
            for (key,) in self._con.execute(
                sql_files.read_statements(_SQL)["incomplete"], {"below": below, "most": most}
            ).fetchall()
        ]


@contextlib.contextmanager
def open_objects(table: Table, bucket: str, settings: Settings) -> Iterator[Objects]:
    """Read a table of a bucket and find its current objects; SourceError if it has rows of another bucket."""
    sql = sql_files.read_statements(_SQL)
    with files.open_temporary_folder() as folder:
        config = {"memory_limit": f"{_MEMORY_MB}MB", "temp_directory": str(folder)}
        threads = {"threads": settings.threads} if settings.threads else {}
        with contextlib.closing(connections.open_connection(config | threads)) as con:
            _load_versions(con, table)
            n_others, other, n_unnamed, has_versions = con.execute(sql["examine"], {"bucket": bucket}).fetchall()[0]
            if n_others:
                raise SourceError(
                    f"{table.name} has {n_others:,} rows of another bucket ({other}) than {bucket}. Nothing was "
                    "changed. Correct CHEST_INVENTORY; with several sources, write BUCKET=ADDRESS."
                )
            if n_unnamed:
                raise SourceError(f"{table.name} has {n_unnamed:,} rows without a key or sequence_number.")
            con.execute(sql["latest" if has_versions else "all"])
            yield Objects(con)


def _load_versions(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    import pyarrow as pa

    failures: list[Exception] = []
    rows = pa.RecordBatchReader.from_batches(_row_schema(), _keep_failure(_read_rows(table), failures))
    con.register("incoming", rows)
    try:
        con.execute(sql_files.read_statements(_SQL)["versions"])
    except Exception:
        if failures:  # DuckDB wraps the exception of the stream; the original message is more helpful
            raise failures[0] from None
        raise
    finally:
        con.unregister("incoming")


def _row_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("bucket", pa.string()),
            ("key", pa.string()),
            ("sequence_number", pa.string()),
            ("version_id", pa.string()),
            ("is_delete_marker", pa.bool_()),
            ("size", pa.int64()),
            ("last_modified", pa.timestamp("us")),
            ("etag", pa.string()),
        ]
    )


def _read_rows(table: Table) -> Iterator[pa.RecordBatch]:
    """Stream the needed columns of a table in their types, times in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    schema = _row_schema()
    names = [{"last_modified": "last_modified_date", "etag": "e_tag"}.get(name, name) for name in schema.names]
    with _explaining(table.name):
        for batch in table.read(names):
            columns = [batch.column(name) for name in names]
            columns[-2] = to_utc(columns[-2])
            found = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
            found[-1] = pc.utf8_trim(found[-1], '"')
            yield pa.record_batch(found, schema)


def _keep_failure(rows: Iterator[pa.RecordBatch], failures: list[Exception]) -> Iterator[pa.RecordBatch]:
    try:
        yield from rows
    except Exception as error:
        failures.append(error)
        raise
