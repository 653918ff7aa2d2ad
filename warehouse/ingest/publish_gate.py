"""The publish gate: runs the blocking checks on the newest state of the lake, and records a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import BlockedError
from warehouse.ingest import key_ranges
from warehouse.ingest.context import Run
from warehouse.lake import optimisers, snapshots, store
from warehouse.query import checks

#: The checks that one scan of each table can rule out (sql/ingest/gate.sql); any other blocking check always runs.
SCREENED = frozenset({"books", "rows_twice", "rows_unpaired", "rows_out_of_date"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """The unpublished commits since the last published snapshot, and the sums of their counts."""

    last: int
    commits: list[store.Snapshot]
    counts: dict[str, int]


def run_blocking_checks(run: Run) -> list[checks.Result]:
    """Run the blocking checks on the newest state of the whole lake, without fetching rows."""
    with run.all_cores():
        with optimisers.plan_as_written(run.con):
            row = fetch_first(run.con.execute(sql_files.read_statements("ingest/gate.sql")["screen"]))
        is_clean = bool(row and row[0]) and not _has_repeated(run)
        return [
            checks.Result.empty(check) if is_clean and check.name in SCREENED else checks.count_rows(run.con, check)
            for check in checks.load_definitions().values()
            if check.severity is checks.Severity.BLOCKING
        ]


def _has_repeated(run: Run) -> bool:
    """Whether an object has several rows; by ranges of keys, since the groups of all take too much memory."""
    repeated = sql_files.read_statements("ingest/gate.sql")["repeated"]
    return any(
        run.con.execute(sql_files.fill(repeated, within=one.render("key"))).fetchall()[0][0]
        for one in key_ranges.find_ranges(run.con)
    )


def require_blocking_checks(run: Run, waiting: Waiting) -> list[checks.Result]:
    """Return the results of the blocking checks if all pass; else record the refusal and raise BlockedError.

    The refusal is a separate commit, made only if the results differ from those of the last time.
    """
    results = run_blocking_checks(run)
    failed = [result for result in results if result.n_rows]
    if not failed:
        return results
    found = [{"check": result.check.name, "rows": result.n_rows} for result in failed]
    known = snapshots.find_blocked(store.list_snapshots(run.con))
    if found != [{"check": one.check, "rows": one.rows} for one in known]:
        _record_blocked(run, waiting, found)
    raise BlockedError(_format_message(waiting, failed), results)


def _record_blocked(run: Run, waiting: Waiting, found: list[dict[str, object]]) -> None:
    values = {
        "refresh_id": run.refresh_id,
        "source": run.source,
        "started_at": waiting.commits[0].time if waiting.commits else datetime.now(UTC),
        "snapshot": None,
        "published": False,
        **waiting.counts,
    }
    insert = sql_files.read_statements("ingest/publish.sql")["insert"]
    store.transact(
        run.con,
        f"refresh {run.refresh_id}: blocked by {', '.join(str(one['check']) for one in found)}",
        lambda: run.con.execute(insert, values),
        refresh=run.refresh_id,
        source=run.source,
        blocked=found,
    )


def _format_message(waiting: Waiting, failed: list[checks.Result]) -> str:
    what = ", ".join(f"{one.check.name} ({one.n_rows:,} rows: {one.check.title})" for one in failed)
    seen = f"readers keep snapshot {waiting.last}" if waiting.last >= 0 else "there is nothing to read yet"
    advice = snapshots.BLOCKED_ADVICE.format(check=failed[0].check.name)
    return f"Publishing is blocked by {what}. Nothing was published; {seen}. {advice}"
