"""Verifies a manifest: whether its objects are unchanged in the bucket and its clinical records still in effect.

Buckets are listed, not read; only new clinical files whose names do not show their kind are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.leaks import Leak
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.ingest import extraction, record_extraction
from warehouse.ingest.key_parsing import parse_keys
from warehouse.lake import location
from warehouse.manifests import past, paths
from warehouse.manifests.contents import connect
from warehouse.manifests.manifest import Manifest
from warehouse.manifests.past import Withdrawn
from warehouse.manifests.registered import Standing, find_standing
from warehouse.manifests.sides import find_leaks
from warehouse.manifests.sources import resolve_sources
from warehouse.object_store.base import Bucket, listing_schema
from warehouse.object_store.folder import FolderBucket
from warehouse.object_store.layouts import Layout
from warehouse.object_store.opening import open_bucket
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: Up to this many patients are listed one by one; with more, their whole groups are listed.
_PATIENTS = 128
_LISTERS = 8

STATUSES = ("present", "missing", "changed", "superseded")


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The state of a manifest's objects. `problems` has the status, key, object, patient_id and detail of each."""

    counts: dict[str, int]
    by_size: int  # of those present, how many could be compared by size alone
    problems: pa.Table
    patients_gone: tuple[str, ...]  # no longer in the bucket or the lake
    standing: Standing | None = None  # its entry in the lake's register, if there is a lake
    leaks: tuple[Leak, ...] = ()  # what its label `split` has on two sides
    withdrawn: Withdrawn = field(default_factory=Withdrawn)  # who has withdrawn or opted out, if there is a lake

    @property
    def holds(self) -> bool:
        """Whether all objects are present, unchanged and not superseded, and nothing is on two sides of a split."""
        is_whole = not (self.problems.num_rows or self.patients_gone or self.leaks or self.withdrawn.uris)
        return is_whole and self.standing is not Standing.OTHER_ROWS


@explain_faults()
def verify(
    manifest: Manifest,
    *,
    source: str | Sequence[str] = (),
    lake_address: str = "",
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> VerificationResult:
    """Compare a manifest with its buckets, or with those given; with a lake, also look for its patients there.

    A bucket that is neither a source of the lake nor in `source` is not listed (warehouse/manifests/sources.py).
    Raises ManifestError if the manifest itself was altered, UsageError for a source that was not named, SourceError if
    a bucket cannot be listed.
    """
    settings = settings or load_settings()
    contents, homes = manifest.contents, list(manifest.contents.sources)
    places = resolve_sources(manifest, homes, source, lake_address, settings)
    buckets = [open_bucket(places[home], settings) for home in homes]
    is_home = [bucket.source for bucket in buckets] == homes
    with contextlib.closing(connect(settings, contents)) as con:
        sql = sql_files.read_statements("manifests/verify.sql")
        place = "list_position($homes, left(uri, length(uri) - length(key) - 1))" if len(homes) > 1 else "1"
        filled = sql_files.fill(sql["recorded"], rows=contents.rows, place=f"cast({place} as smallint)")
        con.execute(filled, {"homes": homes} if len(homes) > 1 else None)
        con.execute(sql_files.fill(sql["records"], records=contents.records), {"homes": homes})
        for name in ("patients", "there", "candidates", "again"):
            con.execute(sql[name])
        for number, bucket in enumerate(buckets, 1):
            _compare_bucket(con, bucket, number, is_home, manifest.about.get("as_of"), progress)
        con.execute(sql["compared"], {"is_home": is_home})
        con.execute(sql["verdict"])
        rows = con.execute(sql["counts"]).fetchall()
        counts = dict.fromkeys(STATUSES, 0) | {status: n for status, n, _ in rows}
        gone = {patient for (patient,) in con.execute(sql["without_objects"]).fetchall()}
        standing = find_standing(manifest, lake_address, settings) if lake_address else None
        if lake_address:
            gone |= {*find_missing_patients(manifest, lake_address, settings)}
        return VerificationResult(
            counts=counts,
            by_size=sum(n for status, _, n in rows if status == "present"),
            problems=con.execute(sql["problems"]).to_arrow_table(),
            patients_gone=tuple(sorted(gone)),
            standing=standing,
            leaks=tuple(find_leaks(con, contents.rows, manifest.labels)),
            withdrawn=past.find_withdrawn(manifest, lake_address, settings) if lake_address else Withdrawn(),
        )


def _compare_bucket(
    con: duckdb.DuckDBPyConnection, bucket: Bucket, place: int, is_home: bool, as_of: Any, progress: Progress
) -> None:
    """List a bucket's objects of the manifest's patients, and find what supersedes any."""
    sql = sql_files.read_statements("manifests/verify.sql")
    ((patients,),) = con.execute(sql["number"], {"place": place}).fetchall()
    which = "heads" if patients <= _PATIENTS else "groups"
    heads = [head for (head,) in con.execute(sql[which], {"place": place}).fetchall()]
    if isinstance(bucket, FolderBucket):  # `..` would lead out of it, and a folder cannot have such keys
        heads = [head for head in heads if not paths.has_dots(head)]
    _stream_listing(
        con, _look_up_concurrently(bucket, heads) if which == "heads" else _look_up_each(bucket, heads), place, progress
    )
    if con.execute(sql["listed_twice"], {"place": place}).fetchall():
        con.execute(sql["listed_once"], {"place": place})
    con.execute(sql["others"], {"place": place})
    parse_keys(con, bucket.source, Layout())
    con.execute(sql["sent_again"], {"place": place, "as_of": as_of})
    con.execute(sql["clinical"], {"place": place, "as_of": as_of, "is_home": is_home})
    _read_kinds(con, bucket, place)
    con.execute("drop table changes; drop table parsed")


def _stream_listing(
    con: duckdb.DuckDBPyConnection, listing: Iterator[pa.RecordBatch], place: int, progress: Progress
) -> None:
    """Load a listing into table `there`."""
    import pyarrow as pa

    failure: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        listed = 0
        try:
            for batch in listing:
                listed += batch.num_rows
                progress("listing", listed, 0)
                yield batch
        except BaseException as error:
            failure.append(error)
            raise

    con.register("incoming", pa.RecordBatchReader.from_batches(listing_schema(), batches()))
    try:
        con.execute(sql_files.read_statements("manifests/verify.sql")["listed"], {"place": place})
    except Exception:
        # DuckDB wraps the exception of the stream; the original message is more helpful.
        if failure:
            raise failure[0] from None
        raise
    finally:
        con.unregister("incoming")


def _look_up_each(bucket: Bucket, heads: list[str]) -> Iterator[pa.RecordBatch]:
    for head in heads:
        yield from bucket.listing(head)


def _look_up_concurrently(bucket: Bucket, heads: list[str]) -> Iterator[pa.RecordBatch]:
    """Run short listings concurrently."""
    with ThreadPoolExecutor(_LISTERS, thread_name_prefix="list") as pool:
        for found in pool.map(lambda head: list(bucket.listing(head)), heads):
            yield from found


def _read_kinds(con: duckdb.DuckDBPyConnection, bucket: Bucket, place: int) -> None:
    """Read the new clinical files of the dated layout, whose kind (`data` or `status`) only their content shows."""
    import pyarrow as pa

    sql = sql_files.read_statements("manifests/verify.sql")
    rows = con.execute(sql["unknown_kinds"], {"place": place}).fetchall()
    if not rows:
        return
    names, etags, sizes = zip(*rows, strict=True)
    buffer = memoryview(bytearray(sum(sizes)))
    unread = bucket.read_into(buffer, names, etags, sizes)
    texts, at = [], 0
    for number, size in enumerate(sizes):
        texts.append("" if number in unread else bytes(buffer[at : at + size]).decode("utf-8", "replace"))
        at += size
    with extraction.open_extractor() as extractor:
        kinds = record_extraction.find_kinds(extractor, texts)
    con.register("kinds", pa.table({"key": pa.array(names, pa.string()), "kind": pa.array(kinds, pa.string())}))
    con.execute(sql["kind"], {"place": place})
    con.unregister("kinds")


@explain_faults()
def find_missing_patients(manifest: Manifest, lake_address: str, settings: Settings | None = None) -> list[str]:
    """Find the manifest's patients that the lake's newest published snapshot does not have."""
    from warehouse.query.session import ALL_GROUPS, Session, attach_as

    settings = settings or load_settings()
    sql = sql_files.read_statements("manifests/verify.sql")
    # The lake's connection never reads the manifest's files: it gets only the pseudonyms.
    with contextlib.closing(connect(settings, manifest.contents)) as con:
        named = con.execute(sql_files.fill(sql["named_patients"], rows=manifest.contents.rows)).to_arrow_table()
    with attach_as(Session, lake_address, settings=settings) as newest, newest.group(ALL_GROUPS) as everybody:
        everybody.con.register("named_patients", named)
        return [patient for (patient,) in everybody.con.execute(sql["patients_gone"]).fetchall()]


def find_lake(address: str) -> str:
    """Return the address if there is a lake, else ""."""
    from warehouse.lake import store

    return address if store.exists(location.parse_address(address)) else ""
