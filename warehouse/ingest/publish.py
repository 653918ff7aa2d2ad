"""Step 4, published: make the commits of the previous steps visible to readers, if the blocking checks pass."""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import LakeError
from warehouse.ingest import publish_gate, readability, withholding
from warehouse.ingest.context import Run
from warehouse.ingest.recleaning import reclean
from warehouse.lake import store
from warehouse.withdrawal import standing_list

_COUNTS = ("added", "changed", "removed", "images", "clinical", "rejected")

#: Those that a refresh with `full` begins anew.
_RELOADED = ("changed", "images", "clinical", "rejected")

#: From this many data files of core.images on, small ones are merged first: a thousand slow a query 25 times.
_MERGE_FROM = 256


@dataclass(frozen=True, slots=True)
class Published:
    """The newest published snapshot, whether this step published it, and what came with it."""

    snapshot: int
    is_new: bool
    counts: dict[str, int]


def publish(run: Run, allow_removals: bool = False) -> Published:
    """Publish what was committed since the last published snapshot, if anything.

    The rows of patients who have withdrawn are removed first; a snapshot states of which version of the standing list
    it is free. Clinical files cleaned by older rules are cleaned again, so that no snapshot mixes two sets of rules.
    The counts are summed from the commits themselves, so they cover a refresh that was killed and resumed. Raises
    RemovalsError or SourceError if too much could not be read (unless `allow_removals`), BlockedError if a blocking
    check has rows; readers then keep their snapshot, and the next refresh tries again.
    """
    waiting = _find_waiting(history := store.list_snapshots(run.con))
    has_loaded = bool(waiting.counts["images"] or waiting.counts["clinical"])
    if withholding.remove_withdrawn(run, has_loaded=has_loaded, history=history):
        waiting = _find_waiting(history := store.list_snapshots(run.con))
    version = standing_list.find_version(history)
    if not waiting.commits and (waiting.last < 0 or standing_list.is_applied(history, waiting.last)):
        return Published(waiting.last, is_new=False, counts=waiting.counts)
    if reclean(run):
        waiting = _find_waiting(store.list_snapshots(run.con))
    run.progress("checking", 0, 0)
    if not allow_removals:
        readability.refuse_unread(run, waiting.last, run.settings.max_removals_percent)
    publish_gate.require_blocking_checks(run, waiting)
    sql = sql_files.read_statements("ingest/publish.sql")
    files = fetch_first(run.con.execute(sql["files"]))
    if files and files[0] >= _MERGE_FROM and len(waiting.commits) > 1:
        run.progress("merging small files", 0, 0)
        run.con.execute(sql["merge"])
    number = store.find_newest(run.con) + 1
    values = {
        "refresh_id": run.refresh_id,
        "source": run.source,
        "started_at": waiting.commits[0].time if waiting.commits else history[-1].time,
        "snapshot": number,
        "published": True,
        **waiting.counts,
    }
    store.transact(
        run.con,
        f"refresh {run.refresh_id}: published",
        lambda: run.con.execute(sql["insert"], values),
        refresh=run.refresh_id,
        source=run.source,
        published=True,
        **({"withheld": version} if version else {}),
    )
    found = store.find_newest(run.con)
    if found != number:
        raise LakeError(
            f"Snapshot {found} was published instead of {number}: another program writes to the lake. Run it again."
        )
    return Published(number, is_new=True, counts=waiting.counts)


def _find_waiting(history: list[store.Snapshot]) -> publish_gate.Waiting:
    last, commits = store.find_unpublished(history)
    return publish_gate.Waiting(last, commits, _sum_counts(commits))


def _sum_counts(commits: list[store.Snapshot]) -> dict[str, int]:
    """Sum the counts of commits. A full listing begins those of its source anew, as all is read again: what was added
    stays added, and is no change."""
    sums: dict[str, dict[str, int]] = {}
    for commit in commits:
        counts = {name: int(commit.info.get(name, 0)) for name in _COUNTS}
        so_far = sums.setdefault(str(commit.info.get("source", "")), dict.fromkeys(_COUNTS, 0))
        if commit.info.get("full"):
            counts["changed"] = max(counts["changed"] - so_far["added"], 0)
            so_far.update(dict.fromkeys(_RELOADED, 0))
        for name, count in counts.items():
            so_far[name] += count
    return {name: sum(so_far[name] for so_far in sums.values()) for name in _COUNTS}
