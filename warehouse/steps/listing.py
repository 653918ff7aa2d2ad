"""Step 1, objects: bring raw.objects level with the bucket, by comparing a streamed listing inside DuckDB."""

from collections.abc import Iterator
from dataclasses import dataclass

from warehouse import columns, keys, sqlfiles
from warehouse.bucket import DENIED, listing_schema
from warehouse.errors import RemovalsError, SourceError
from warehouse.steps import memory, scope
from warehouse.steps.run import Run

#: Where rows of an object stand besides raw.objects.
_DERIVED = ("core.images", "raw.headers", "core.clinical", "core.clinical_issues", "raw.records", "ops.rejects")


@dataclass(frozen=True, slots=True)
class ListingCounts:
    """What a listing found: objects listed, and how many came, were replaced, went."""

    listed: int
    added: int
    changed: int
    removed: int


def list_objects(run: Run, allow_removals: bool = False, full: bool = False) -> ListingCounts:
    """List the bucket (the run's scope of it) and commit what is new, replaced or gone; nothing when nothing is.

    Objects that are replaced or gone lose their rows in core; replaced ones are thereby pending again. With `full`
    every known object counts as replaced, so that all of them are read again.
    Raises SourceError when the bucket cannot be listed or not one object be read, RemovalsError when more
    than `max_removals_percent` of the source's objects would go; the lake is then as it was.
    """
    with run.all_cores():
        counts = _compare_and_commit(run, allow_removals, full)
    # They can be large, and memory is for the steps to come.
    run.con.execute("drop table if exists listing; drop table if exists changes; drop table if exists parsed")
    memory.release()
    return counts


def _compare_and_commit(run: Run, allow_removals: bool, full: bool) -> ListingCounts:
    sql = sqlfiles.statements("refresh/listing.sql")
    source = run.bucket.source
    changes = sqlfiles.fill(sql["changes"], within=run.within("key"))
    wanted = {"source": source, "full": full, "prefixes": list(run.scope.prefixes)}
    _stream(run)
    scope.require(run.con, source, run.scope)
    run.con.execute(changes, wanted)
    run.con.execute(sql["doubles"])
    if run.con.execute("from doubles limit 1").fetchone():
        run.con.execute(sql["drop_doubles"])
        run.con.execute(changes, wanted)
    row = run.con.execute(sql["counts"], {"source": source}).fetchone()
    assert row is not None
    counts = ListingCounts(*row[:4])
    if counts.added or counts.changed or counts.removed:
        if not allow_removals:
            _refuse_removals(run, counts.removed, before=row[4])
        _probe(run)
        run.con.execute(
            sqlfiles.fill(sql["parsed"], **pattern_names()),
            {"source": source, "dated": keys.DATED, "published": keys.PUBLISHED},
        )
        run.commit(
            "objects",
            lambda: _write(run, counts),
            added=counts.added,
            changed=counts.changed,
            removed=counts.removed,
        )
    return counts


def pattern_names() -> dict[str, str]:
    """The named groups of the key patterns, as regexp_extract wants them."""
    return {
        "dated_names": ", ".join(f"'{name}'" for name in keys.group_names(keys.DATED)),
        "published_names": ", ".join(f"'{name}'" for name in keys.group_names(keys.PUBLISHED)),
    }


def _stream(run: Run) -> None:
    """Take the listing into the temporary table `listing`, batch by batch."""
    import pyarrow as pa

    failure: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        listed = 0
        try:
            for prefix in run.scope.prefixes or ("",):
                for batch in run.bucket.listing(prefix):
                    listed += batch.num_rows
                    run.progress("listing", listed, 0)
                    yield batch
        except BaseException as error:
            failure.append(error)
            raise

    run.con.register("incoming", pa.RecordBatchReader.from_batches(listing_schema(), batches()))
    try:
        run.con.execute(sqlfiles.statements("refresh/listing.sql")["listing"], {"answers": list(keys.ANSWERS)})
    except Exception:
        # DuckDB wraps what the stream raised; the listing's own words are the ones that help.
        if failure:
            raise failure[0] from None
        raise
    finally:
        run.con.unregister("incoming")


def _refuse_removals(run: Run, removed: int, before: int) -> None:
    limit = run.settings.max_removals_percent
    if removed > before * limit / 100:
        raise RemovalsError(
            f"{run.bucket.source}: the listing lacks {removed:,} of the {before:,} objects known before, "
            f"more than {limit:g} %. Is it the right bucket, and is the listing whole? "
            "If they are really gone, allow the removals:  chest refresh … --allow-removals"
        )


def _probe(run: Run) -> None:
    """Read up to three new objects, so that a bucket that may be listed but not read leaves the lake untouched."""
    rows = run.con.execute(sqlfiles.statements("refresh/listing.sql")["probes"]).fetchall()
    if not rows:
        return
    names, etags, sizes = zip(*rows, strict=True)
    unread = run.bucket.read_into(memoryview(bytearray(sum(sizes))), names, etags, sizes)
    if [*unread.values()] == [DENIED] * len(rows):
        raise SourceError(
            f"{run.bucket.source}: its objects may be listed but not read. "
            "Ask for s3:GetObject (in a folder: for the right to read)."
        )


def _write(run: Run, counts: ListingCounts) -> None:
    sql = sqlfiles.statements("refresh/listing.sql")
    source = {"source": run.bucket.source}
    if counts.changed or counts.removed:
        for table in ("raw.objects", *_DERIVED):
            run.con.execute(sqlfiles.fill(sql["delete"], table=table), source)
    if counts.added or counts.changed:
        run.con.execute(sqlfiles.fill(sql["insert"], **columns.fills()))
        run.con.execute(sql["reject_dates"])
    if not run.con.execute(sql["any_image"], source).fetchone():
        return
    run.con.execute(sqlfiles.fill(sql["repaired"], pairing=sqlfiles.read("refresh/pairing.sql")), source)
    if run.con.execute("from repaired limit 1").fetchone():
        run.con.execute(sql["repair"], source)
