"""Step 4, published: let readers see what the steps before have committed, when the blocking checks hold."""

from dataclasses import dataclass

from warehouse import lake, sqlfiles
from warehouse.errors import LakeError
from warehouse.steps import gate, readability
from warehouse.steps.recleaning import reclean
from warehouse.steps.run import Run

_COUNTS = ("added", "changed", "removed", "images", "clinical", "rejected")

#: From so many data files of core.images on, small ones are merged first: a thousand slow a query 25 times.
_MERGE_FROM = 256


@dataclass(frozen=True, slots=True)
class Published:
    """The newest published snapshot, whether this step published it, and what came with it."""

    snapshot: int
    is_new: bool
    counts: dict[str, int]


def publish(run: Run, allow_removals: bool = False) -> Published:
    """Publish what was committed since the last published snapshot; nothing, when nothing was.

    Clinical files that older rules have typed are cleaned again first, so that no snapshot shows two sets of rules.
    The counts are summed up from the commits themselves, so they cover a refresh that was killed and went on.
    Raises RemovalsError or SourceError when too much could not be read (unless `allow_removals`), BlockedError when a
    blocking check has rows; readers then stay where they are, and the next refresh tries again.
    """
    waiting = _waiting(run)
    if not waiting.commits:
        return Published(waiting.last, is_new=False, counts=waiting.counts)
    if reclean(run):
        waiting = _waiting(run)
    run.progress("checking", 0, 0)
    if not allow_removals:
        readability.refuse_unread(run, waiting.last, run.settings.max_removals_percent)
    gate.hold(run, waiting)
    sql = sqlfiles.statements("refresh/publish.sql")
    files = run.con.execute(sql["files"]).fetchone()
    if files and files[0] >= _MERGE_FROM and len(waiting.commits) > 1:
        run.progress("merging small files", 0, 0)
        run.con.execute(sql["merge"])
    number = lake.snapshots(run.con)[-1].number + 1
    values = {
        "refresh_id": run.refresh_id,
        "source": run.source,
        "started_at": waiting.commits[0].time,
        "snapshot": number,
        "published": True,
        **waiting.counts,
    }
    lake.transact(
        run.con,
        f"refresh {run.refresh_id}: published",
        lambda: run.con.execute(sql["insert"], values),
        refresh=run.refresh_id,
        source=run.source,
        published=True,
    )
    found = lake.snapshots(run.con)[-1].number
    if found != number:
        raise LakeError(
            f"Snapshot {number} was to be published, but {found} was: another program writes to the lake. Run it again."
        )
    return Published(number, is_new=True, counts=waiting.counts)


def _waiting(run: Run) -> gate.Waiting:
    last, commits = lake.waiting(lake.snapshots(run.con))
    counts = {name: sum(int(s.info.get(name, 0)) for s in commits) for name in _COUNTS}
    return gate.Waiting(last, commits, counts)
