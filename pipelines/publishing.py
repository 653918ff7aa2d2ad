"""The step that publishes: what readers see, which views changed with it, and what the blocking checks found."""

import time
from datetime import timedelta
from pathlib import Path

import dagster as dg

from pipelines import checks, metadata, plots, views
from pipelines.config import PublishConfig
from pipelines.deployment import OWNERS, POOL, PUBLISHED, Deployment
from pipelines.resources import ChestWarehouse
from warehouse.api import Warehouse
from warehouse.errors import BlockedError
from warehouse.ingest import Published, Run, publish
from warehouse.lake import view_changes
from warehouse.quality_report import metrics, suppression
from warehouse.query.checks import Result
from warehouse.settings import load_suppress

_FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=5), fail_window=timedelta(days=8))


def build_asset(deployment: Deployment) -> dg.AssetsDefinition:
    """The asset `published`, after the images and clinical files of every source."""

    @dg.asset(
        key=PUBLISHED,
        deps=[deployment.key(step, source) for source in deployment.names for step in ("images", "clinical")],
        group_name="published",
        kinds={"duckdb", "parquet"},
        owners=OWNERS,
        metadata=metadata.describe_relation("ops.refreshes"),
        freshness_policy=_FRESH,
        pool=POOL,
    )
    def published(
        context: dg.AssetExecutionContext, config: PublishConfig, chest: ChestWarehouse
    ) -> dg.MaterializeResult[None]:
        """The snapshot that readers see.

        Publishes what was committed since the last published snapshot, when the blocking checks hold; when nothing
        was, the last one stands. Says which views may answer otherwise than before, and so which cohorts do.
        """
        started = time.monotonic()
        with chest.publishing(context) as run:
            done = _publish(context, run, deployment, allow_removals=config.allow_removals)
        with chest.reading(context, leaves=False) as reader:
            base = load_suppress()
            moved = _report_changed_views(context, reader, base)
            collected = _collect_metadata(context, reader, chest.folder, base)
            counts = metadata.round_counts(done.counts, metadata.count_rows(reader.con, "raw.objects", base).unit)
        seconds = round(time.monotonic() - started, 2)
        context.log.info(f"{metadata.describe_counts(counts)} (snapshot {done.snapshot}, {seconds} s)")
        return dg.MaterializeResult(
            metadata={
                **collected,
                **counts,
                "is_new": done.is_new,
                "source": run.source,
                "lake": reader.location.name,
                "views changed": ", ".join(moved) or "none",
                "seconds": seconds,
            }
        )

    return published


def _publish(context: dg.AssetExecutionContext, run: Run, deployment: Deployment, *, allow_removals: bool) -> Published:
    """Publish, and report the results of the blocking checks, which run if there is something to publish."""
    try:
        done = publish(run, allow_removals)
    except BlockedError as error:
        _log_check_results(context, deployment, error.results)
        raise
    if done.is_new:
        _log_check_results(context, deployment, checks.list_passed_results())
    return done


def _log_check_results(
    context: dg.AssetExecutionContext, deployment: Deployment, results: "tuple[Result, ...]"
) -> None:
    for result in results:
        context.log_event(checks.build_evaluation(context.instance, deployment, result))


def _report_changed_views(context: dg.AssetExecutionContext, reader: Warehouse, base: int) -> tuple[str, ...]:
    """Report the views that changed since `published` last reported them; that run may have been killed midway."""
    found = view_changes.find_changed_views(
        reader.con, reader.location, _last_reported_snapshot(context.instance, reader), reader.snapshot.number
    )
    everyone = reader.group("all")
    for view in found:
        rows = metadata.count_rows(everyone.con, view, base)
        context.log_event(views.build_change_event(view, reader.snapshot.number, rows.rows))
    return found


def _last_reported_snapshot(instance: dg.DagsterInstance, reader: Warehouse) -> int | None:
    """The snapshot of this lake that the last `published` in Dagster's records reported, if any."""
    event = instance.get_latest_materialization_event(PUBLISHED)
    reported = event.asset_materialization.metadata if event and event.asset_materialization else {}
    if "lake" not in reported or reported["lake"].value != reader.location.name:
        return None
    return int(str(reported["snapshot"].value))


def _collect_metadata(
    context: dg.AssetExecutionContext, reader: Warehouse, folder: Path, base: int
) -> metadata.Metadata:
    return {
        "dagster/row_count": metadata.count_rows(reader.con, "ops.refreshes", base).rows,
        "snapshot": reader.snapshot.number,
        **metadata.measure_storage(reader.con, base),
        "seconds by step": metadata.measure_steps(context.instance, context.run.run_id),
        "report": dg.MetadataValue.path(checks.find_report_path(folder, reader.snapshot.number)),
        **plots.render_plots(suppression.suppress_counts(metrics.collect_metrics(reader, results=()), base)),
    }
