"""Prepares a unit for the lake: the fetched objects, the rows extracted from them, and which are rejected and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.ingest import dcm_reading, extraction
from warehouse.ingest.fetching import fetch as fetch_texts
from warehouse.ingest.rejects import collect_rejects

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from warehouse.ingest.extraction import Extractor
    from warehouse.ingest.fetching import Fetched
    from warehouse.ingest.object_kinds import ObjectKind
    from warehouse.object_store.base import Bucket
    from warehouse.settings import Settings

_SQL = "ingest/loading.sql"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A unit ready to be written: the fetched objects, the rows extracted from them (those of the object itself first,
    then the readings of headers or the issues of records), and the outcome.

    `missed` has the keys of objects without rows, `rejects` those that are new, `retried` the keys whose earlier reject
    is out of date.
    """

    fetched: Fetched
    rows: tuple[pa.Table, ...]
    failed: dict[str, str]
    missed: set[str]
    rejects: list[dict[str, Any]]
    retried: list[str]

    @property
    def loaded(self) -> int:
        """The number of objects with rows."""
        return len(self.fetched.objects) - len(self.missed)

    @property
    def patients(self) -> dict[str, str]:
        """The patients that headers have named, by key, where they differ from what was known."""
        known = self.fetched.objects.column("patient_id").to_pylist()
        found = self.fetched.batch.column("patient_id").to_pylist()
        keys = self.fetched.objects.column("key").to_pylist()
        rows = zip(keys, known, found, strict=True)
        return {key: new for key, old, new in rows if new != old and key not in self.missed}

    @property
    def replaces(self) -> bool:
        """Whether it has objects whose earlier content has rows in the lake."""
        import pyarrow.compute as pc

        return bool(self.loaded) and bool(pc.any(self.fetched.objects.column("is_loaded")).as_py())


def fetch(kind: ObjectKind, bucket: Bucket, settings: Settings, objects: pa.Table, buffer: bytearray) -> Fetched:
    """Fetch the objects of a unit; SourceError if the bucket denies access."""
    if kind.is_dcm:
        return dcm_reading.fetch_headers(bucket, settings, objects)
    return fetch_texts(bucket, objects, buffer)


def prepare(kind: ObjectKind, extractor: Extractor, fetched: Fetched) -> Prepared:
    """Extract the fetched objects of a unit, and judge which are rejected."""
    import pyarrow.compute as pc

    rows, failed = extraction.extract_piecemeal(kind.extract, extractor, fetched.batch)
    flags = pc.fill_null(rows[0].column(kind.flag), fill_value=False)
    unread = set(rows[0].filter(pc.invert(flags)).column("key").to_pylist())
    rejects, retried = collect_rejects(fetched, unread, failed, kind.wanted)
    return Prepared(fetched, rows, failed, unread | failed.keys(), rejects, retried)


def register_rows(con: duckdb.DuckDBPyConnection, kind: ObjectKind, unit: Prepared) -> None:
    """Make a unit's rows known to a connection, by the names that the statements of `list_rows` use."""
    con.register("batch", extraction.drop_unreadable(unit.fetched.batch, unit.failed))
    for name, rows in zip(kind.relations, unit.rows, strict=True):
        con.register(name, rows)


def list_rows(kind: ObjectKind) -> dict[str, str]:
    """For each table the SELECT with the rows of a registered unit."""
    sql = sql_files.read_statements(_SQL)
    return {table: sql_files.fill(sql[name], **columns.template_values()) for table, name in kind.rows.items()}
