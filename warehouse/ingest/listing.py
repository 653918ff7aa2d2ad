"""Step 1, objects: bring raw.objects up to date with the bucket, by comparing a streamed listing inside DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import RemovalsError
from warehouse.ingest import (
    header_sources,
    key_ranges,
    memory,
    readability,
    scope,
    source_layouts,
    unstorable,
    withholding,
)
from warehouse.ingest.context import BucketRun
from warehouse.ingest.key_parsing import parse_keys
from warehouse.ingest.key_ranges import KeyRange
from warehouse.lake import optimisers, store
from warehouse.object_store import keys
from warehouse.object_store.base import Skipped, listing_schema
from warehouse.withdrawal import removal

#: Tables with rows of an object, besides raw.objects and ops.rejects.
_DERIVED = ("core.images", "raw.headers", "core.clinical", "core.clinical_issues", "raw.records")
#: The table of complete files for each table of typed rows.
_WHOLE = {"raw.headers": "core.images", "raw.records": "core.clinical", "core.clinical_issues": "core.clinical"}
#: The typed table of a kind of object.
_TYPED = {"header": "core.images", "clinical": "core.clinical"}


@dataclass(frozen=True, slots=True)
class ListingCounts:
    """The counts of a listing: objects listed, added, changed and removed; a note if it is not from the bucket itself;
    the number of entries skipped because they are not objects (links that lead out, pipes) or have a key that cannot be
    stored; and of objects of withdrawn patients, which are left out and not counted as listed."""

    listed: int
    added: int
    changed: int
    removed: int
    note: str = ""
    skipped: int = 0
    withheld: int = 0


def list_objects(run: BucketRun, allow_removals: bool = False, full: bool = False) -> ListingCounts:
    """List the bucket (in the run's scope) and commit what was added, changed or removed, if anything.

    Removed objects lose their rows in core. Rows of changed objects stay until the new content is read; these objects
    are pending again. With `full` every known object counts as changed, so that all are read again. Raises SourceError
    if the bucket cannot be listed or most objects cannot be read, RemovalsError if more than `max_removals_percent` of
    the source's objects would be removed; the lake is then unchanged.

    Before all else the rows of patients who have withdrawn are removed, of all sources; their objects are left out.
    """
    withholding.remove_withdrawn(run)
    with run.all_cores():
        counts = _compare_and_commit(run, allow_removals, full)
    # They can be large, and the next steps need the memory.
    for table in ("listing", "changes", "parsed", "skipped", "withheld"):
        run.con.execute(f"drop table if exists temp.{table}")
    memory.release()
    return counts


def _compare_and_commit(run: BucketRun, allow_removals: bool, full: bool) -> ListingCounts:
    sql = sql_files.read_statements("ingest/listing.sql")
    source = run.source
    is_new_layout = run.is_new_layout
    full = full or (is_new_layout and not run.layout.is_standard)  # every key is parsed again
    excluded = removal.read_excluded(run.con, run.place)
    ranges = key_ranges.find_ranges(run.con)
    skipped = [one for one in _stream_listing(run, ranges) if run.scope.covers(one.key)]
    skipped = withholding.drop_skipped(skipped, excluded)
    scope.leave_out_others(run.con, run.scope)
    if run.bucket.listed_at:
        _keep_newer(run, run.bucket.listed_at, ranges)
    scope.require_objects(run.con, source, run.scope)
    _compare(run, ranges, full)
    run.con.execute(sql["repeated"])
    run.con.execute(sql["doubles"])
    if fetch_first(run.con.execute("from doubles limit 1")):
        run.con.execute(sql["drop_doubles"])
        _compare(run, ranges, full)
    if excluded:
        parse_keys(run.con, run.source, run.layout)
    left_out = withholding.leave_out(run, excluded)
    row = fetch_first(run.con.execute(sql["counts"], {"source": source}))
    assert row is not None
    counts = replace(ListingCounts(*row[:4]), note=run.bucket.listing_note, skipped=len(skipped))
    counts = replace(counts, withheld=left_out.n_objects)
    odd = _compare_skipped(run, skipped)
    has_changes = bool(counts.added or counts.changed or counts.removed)
    changed: list[KeyRange] = []
    if has_changes:
        if not allow_removals:
            _refuse_removals(run, counts.removed, before=row[4])
        readability.probe_objects(run)
        changed = parse_keys(run.con, run.source, run.layout)
    n_archives = _count_archives(run) if has_changes else 0
    if has_changes or odd or left_out.is_new or is_new_layout:
        run.commit(
            "objects",
            lambda: _write(run, counts, changed, odd, full, left_out),
            added=counts.added,
            changed=counts.changed,
            removed=counts.removed,
            rejected=odd + n_archives,
            **({"listed_at": int(run.bucket.listed_at.timestamp())} if run.bucket.listed_at else {}),
            **({"full": 1} if full and not run.scope.prefixes else {}),
        )
        run.kept.known_layout = run.layout
    return counts


def _compare(run: BucketRun, ranges: Sequence[KeyRange], full: bool) -> None:
    """Write what differs between the listing and the lake into the temporary table `changes`, range by range."""
    sql = sql_files.read_statements("ingest/listing.sql")
    wanted = {"source": run.source, "full": full, **run.scope.parameters}
    for number, one in enumerate(ranges):
        differences = sql_files.fill(
            sql["differences"], part=str(number), within=run.within("key"), in_range=one.render("key")
        )
        run.con.execute(sql_files.fill(sql["more" if number else "changes"], differences=differences), wanted)


def _count_archives(run: BucketRun) -> int:
    if run.layout.is_standard:
        return 0
    row = fetch_first(run.con.execute(sql_files.read_statements("ingest/layouts.sql")["archives"]))
    return int(row[0]) if row else 0


def _stream_listing(run: BucketRun, ranges: Sequence[KeyRange]) -> list[Skipped]:
    """Load the listing into the temporary table `listing`, batch by batch; returns the skipped entries."""
    import pyarrow as pa

    failure: list[BaseException] = []
    skipped: list[Skipped] = []

    def batches() -> Iterator[pa.RecordBatch]:
        listed = 0
        try:
            for prefix in run.scope.prefixes or ("",):
                for batch in run.bucket.listing(prefix):
                    listed += batch.num_rows
                    run.progress("listing", listed, 0)
                    storable, odd = unstorable.drop_keys(batch)
                    skipped.extend(odd)
                    yield storable
                skipped.extend(map(unstorable.name_safely, run.bucket.skipped))
        except BaseException as error:
            failure.append(error)
            raise

    run.con.register("incoming", pa.RecordBatchReader.from_batches(listing_schema(), batches()))
    try:
        query = sql_files.read_statements("ingest/listing.sql")["listing"]
        query = sql_files.fill(query, number=key_ranges.render_number(ranges, "key"))
        run.con.execute(query, {"answers": list(keys.ANSWERS)})
    except Exception:
        # DuckDB wraps the exception of the stream; the original message is more helpful.
        if failure:
            raise failure[0] from None
        raise
    finally:
        run.con.unregister("incoming")
    return skipped


def _compare_skipped(run: BucketRun, skipped: list[Skipped]) -> int:
    """Store changes of the skipped entries in the temporary table `skipped`; returns their number."""
    import pyarrow as pa

    found = {name: pa.array([getattr(one, name) for one in skipped], pa.string()) for name in ("key", "reason")}
    sql = sql_files.fill(sql_files.read_statements("ingest/listing.sql")["skipped"], within=run.within("key"))
    run.con.register("skipped_found", pa.table(found))
    with optimisers.plan_as_written(run.con):
        run.con.execute(sql, {"source": run.source, **run.scope.parameters})
    run.con.unregister("skipped_found")
    row = fetch_first(run.con.execute("select count(*) from skipped"))
    return int(row[0]) if row else 0


def _keep_newer(run: BucketRun, listed_at: datetime, ranges: Sequence[KeyRange]) -> None:
    """Add to an earlier listing the changes that the lake has loaded since, so that it does not undo them.

    Newer are the objects written after that time, and all differences between the lake now and before the first direct
    listing (of the bucket or a part of it) that was committed after that time.
    """
    sql = sql_files.read_statements("ingest/listing.sql")
    history = store.list_snapshots(run.con)
    source = run.source
    learnt = [
        place
        for place, snapshot in enumerate(history)
        if snapshot.time > listed_at
        and (snapshot.info.get("step"), snapshot.info.get("source")) == ("objects", source)
        and "listed_at" not in snapshot.info
    ]
    run.con.execute(sql["newer"], {"source": source, "listed_at": listed_at})
    if learnt:
        before = history[learnt[0] - 1].number if learnt[0] else None
        former = sql_files.fill(sql["former"], version=str(before)) if before is not None else sql["no_former"]
        with optimisers.ignore_statistics_within(run.con):
            for one in ranges:
                learnt_here = sql_files.fill(sql["learnt"], former=former, within=one.render("key"))
                run.con.execute(learnt_here, {"source": source})
    run.con.execute(sql["drop_older"])
    take = sql_files.fill(sql["take_newer"], number=key_ranges.render_number(ranges, "key"))
    run.con.execute(take, {"source": source})


def _refuse_removals(run: BucketRun, removed: int, before: int) -> None:
    limit = run.settings.max_removals_percent
    if removed > before * limit / 100:
        raise RemovalsError(
            f"{run.source}: the listing lacks {removed:,} of the {before:,} objects known before, "
            f"more than {limit:g} %. Check that it is the right bucket and that the listing is complete. "
            "If they are really gone, allow the removals:  chest refresh … --allow-removals"
        )


def _write(
    run: BucketRun,
    counts: ListingCounts,
    changed: Sequence[KeyRange],
    odd: int,
    full: bool,
    left_out: withholding.LeftOut,
) -> None:
    if left_out.is_new:
        removal.replace_withheld(run.con, run.source, left_out.found)
    if run.is_new_layout:
        source_layouts.remember(run)
        header_sources.give_up_headers(run)
    if changed:
        _write_objects(run, counts, changed, full)
    if odd:
        sql = sql_files.read_statements("ingest/listing.sql")
        for name in ("forget_skipped", "reject_skipped"):
            run.con.execute(sql[name], {"source": run.source})


def _write_objects(run: BucketRun, counts: ListingCounts, changed: Sequence[KeyRange], full: bool) -> None:
    """Write what changed into raw.objects, range by range, and take out of the other tables what is no longer so."""
    sql = sql_files.read_statements("ingest/listing.sql")
    source = {"source": run.source}
    run.con.execute(sql["removed"])
    has_removed = bool(fetch_first(run.con.execute("from removed limit 1")))
    for part, one in enumerate(changed):
        within = one.render("key")
        if counts.changed or counts.removed:
            for table in ("raw.objects", "ops.rejects"):
                run.con.execute(sql_files.fill(sql["delete"], table=table, within=within), source)
        for table in _DERIVED if has_removed else ():
            run.con.execute(sql_files.fill(sql["delete_removed"], table=table, within=within), source)
        if counts.added or counts.changed:
            run.con.execute(sql_files.fill(sql["insert"], part=str(part), **columns.template_values()))
        if full and counts.changed:
            _mark_due(run, part, within)
    if counts.added or counts.changed:
        run.con.execute(sql["reject_dates"])
        if not run.layout.is_standard:
            run.con.execute(sql_files.read_statements("ingest/layouts.sql")["reject_archives"])
    if fetch_first(run.con.execute(sql["any_dcm"])) and fetch_first(run.con.execute(sql["any_image"], source)):
        _pair_again(run)


def _mark_due(run: BucketRun, part: int, within: str) -> None:
    """Mark the loaded objects of a range to be read again, although their etag is the same."""
    sql = sql_files.read_statements("ingest/listing.sql")
    source = {"source": run.source}
    for whole, typed in _WHOLE.items():
        run.con.execute(sql_files.fill(sql["unpaired"], whole=whole, typed=typed, within=within), source)
    for kind, table in _TYPED.items():
        due = sql_files.fill(sql["due"], table=table, kind=kind, part=str(part), within=within)
        run.con.execute(due, {**source, "reason": readability.DUE})


def _pair_again(run: BucketRun) -> None:
    """Give loaded images the .dcm that they have now, by ranges of patients."""
    sql = sql_files.read_statements("ingest/listing.sql")
    source = {"source": run.source}
    for one in key_ranges.find_patient_ranges(run.con):
        near = one.render("patient_id")
        pairing = sql_files.fill(sql_files.read("ingest/pairing.sql"), near=near)
        run.con.execute(sql_files.fill(sql["repaired"], pairing=pairing, near=near), source)
        if fetch_first(run.con.execute("from repaired limit 1")):
            run.con.execute(sql["repair"], source)
