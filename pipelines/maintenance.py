"""The weekly maintenance as a job: first the lake's (merge, rewrite, expire, clean up), then Dagster's own history."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import dagster as dg

from pipelines import event_prefixes
from pipelines.deployment import POOL, Definition, Deployment
from pipelines.resources import ChestWarehouse
from pipelines.retries import retry_when_healing
from pipelines.run_retention import forget_runs
from pipelines.settings import load_pipeline_settings
from warehouse.lake.maintenance import maintain
from warehouse.settings import load_settings

JOB = "maintenance"


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def lake(context: dg.OpExecutionContext, chest: ChestWarehouse) -> None:
    """Keep the lake's files few and its old snapshots no longer than they are needed; manifests keep theirs."""
    with retry_when_healing(context, chest.first_wait):
        settings = load_settings()
        done = maintain(chest.lake or settings.lake, keep_days=settings.keep_days, settings=settings)
    context.add_output_metadata(
        {
            "snapshot": done.snapshot,
            "files_before": done.before.files,
            "files": done.after.files,
            "bytes_before": done.before.bytes,
            "bytes": done.after.bytes,
            "files_rewritten": done.rewritten.files,
            "files_merged": done.merged.files,
            "snapshots_expired": len(done.expired),
            "snapshots_kept": len(done.kept),
            "files_removed": done.removed_files + done.removed_orphans,
        }
    )


@dg.op(ins={"after": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def history(context: dg.OpExecutionContext) -> None:
    """Forget runs that ended more than CHEST_KEEP_DAYS ago, unless they are the last record of an asset."""
    days = load_settings().keep_days
    event_prefixes.forget_prefixes(Path(load_pipeline_settings().manifests), days)
    context.add_output_metadata(asdict(forget_runs(context.instance, days)))


def build(deployment: Deployment) -> Sequence[Definition]:  # noqa: ARG001
    """The job."""

    @dg.job(
        name=JOB,
        description="Keeps lake and run history small, but all that manifests and readers need.",
    )
    def job() -> None:
        history(after=lake())

    return [job]
