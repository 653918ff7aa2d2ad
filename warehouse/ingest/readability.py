"""Limits how much of a bucket may be unreadable: single objects become rejects; an unreadable bucket changes nothing.

An object that cannot be read keeps the row of its earlier content. So nothing is lost, but a row may be out of date;
many at once are an error of the bucket or the connection, and are not published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from warehouse.engine import sql_files
from warehouse.errors import RemovalsError, SourceError
from warehouse.ingest.context import BucketRun, Run
from warehouse.lake import optimisers
from warehouse.object_store.base import DENIED, ReadFailure

#: How many objects are read to test whether a bucket is readable at all.
_SAMPLE = 24
#: With this many unread objects, a bucket counts as unreadable.
MAX_UNREAD_PERCENT = 50.0
#: The reject reason of an object to be read again although its etag is the same; it is pending, not faulty.
DUE = "to be read again (--full)"


def probe_objects(run: BucketRun) -> None:
    """Raise SourceError, before anything is written, if neither a few new objects nor most others can be read.

    Call it after the listing, whose temporary tables it queries.
    """
    sql = sql_files.read_statements("ingest/listing.sql")
    wanted = {"reads_dcm": run.layout.reads_dcm}
    probes = run.con.execute(sql["probes"], wanted).fetchall()
    if probes and len(_read_sample(run, probes)) == len(probes):
        sample = run.con.execute(sql["sample"], {**wanted, "most": _SAMPLE}).fetchall()
        _require_readable(
            run,
            sample,
            "its objects may be listed but not read. Ask for s3:GetObject (in a folder: for the right to read).",
        )


def require_bucket(run: BucketRun, n_objects: int, n_unread: int) -> None:
    """Raise SourceError if nothing of a unit could be read, and most other objects cannot be read either."""
    if n_unread and n_unread == n_objects:
        query = sql_files.read_statements("ingest/loading.sql")["sample"]
        sample = run.con.execute(query, {"source": run.source, "most": _SAMPLE}).fetchall()
        _require_readable(
            run, sample, "its objects may not be read any more. Check the credentials, then run it again."
        )


def _require_readable(run: BucketRun, sample: Sequence[tuple[str, str, int]], denied: str) -> None:
    unread = _read_sample(run, sample)
    if len(unread) <= len(sample) * MAX_UNREAD_PERCENT / 100:
        return
    ((most, n_objects),) = Counter(one.reason for one in unread).most_common(1)
    errors = [one.error for one in unread if one.reason == most and one.error]
    if errors:
        raise errors[0]
    tried = f"most of its objects cannot be read; {n_objects} of {len(sample)} that were tried: {most}."
    raise SourceError(f"{run.source}: {denied if most == DENIED.reason else tried}")


def _read_sample(run: BucketRun, objects: Sequence[tuple[str, str, int]]) -> list[ReadFailure]:
    keys, etags, sizes = zip(*objects, strict=True) if objects else ((), (), ())
    return [*run.bucket.read_into(memoryview(bytearray(sum(sizes))), keys, etags, sizes).values()]


@dataclass(frozen=True, slots=True)
class _Unread:
    """The counts of a source: headers and clinical files, rows kept without new content, and objects without a row."""

    n_objects: int
    n_kept: int
    n_unread: int


def refuse_unread(run: Run, last: int, max_percent: float) -> None:
    """Raise if so much could not be read since the last published snapshot that single objects cannot be the cause.

    RemovalsError if over `max_percent` of a source's rows wait for content that cannot be read, SourceError if most of
    its objects have no row because they cannot be read. `last` is that snapshot, -1 if there is none.
    """
    now = _count_unread(run.con, "")
    before = (
        _count_unread(run.con, f" at (version => {last})")
        if last >= 0 and any(n.n_kept or n.n_unread for n in now.values())
        else {}
    )
    for source, found in now.items():
        old = before.get(source, _Unread(0, 0, 0))
        if found.n_kept - old.n_kept > found.n_objects * max_percent / 100:
            raise RemovalsError(
                f"{source}: {found.n_kept:,} of {found.n_objects:,} headers and clinical files were replaced by "
                f"content that cannot be read, more than {max_percent:g} % ({_summarize_reasons(run, source)}). "
                "Their rows stay as they were; nothing was published. Refresh again when the bucket can be read. "
                "If that is permanent, publish with the earlier content:  chest refresh … --allow-removals"
            )
        if found.n_unread - old.n_unread > found.n_objects * MAX_UNREAD_PERCENT / 100:
            raise SourceError(
                f"{source}: {found.n_unread:,} of {found.n_objects:,} headers and clinical files cannot be read "
                f"({_summarize_reasons(run, source)}). Nothing was published. "
                "Refresh again when the bucket can be read. "
                "If that is permanent, publish the rest:  chest refresh … --allow-removals"
            )


def _count_unread(con: duckdb.DuckDBPyConnection, version: str) -> dict[str, _Unread]:
    query = sql_files.fill(sql_files.read_statements("ingest/publish.sql")["unread"], version=version)
    try:
        with optimisers.plan_as_written(con):
            return {source: _Unread(*counts) for source, *counts in con.execute(query, {"due": DUE}).fetchall()}
    except (duckdb.BinderException, duckdb.CatalogException):  # a snapshot from before rows were kept
        return {}
    except (duckdb.IOException, duckdb.InvalidInputException):
        if not version:
            raise
        return {}  # a file of that snapshot is damaged, and the doctor has dropped it since


def _summarize_reasons(run: Run, source: str) -> str:
    query = sql_files.read_statements("ingest/publish.sql")["reasons"]
    return ", ".join(
        f"{reason}: {n_objects:,}"
        for reason, n_objects in run.con.execute(query, {"source": source, "due": DUE}).fetchall()
    )
