"""The steps of a refresh as Dagster assets: objects → images, clinical of each source → published of all.

Belongs here: what each step is called, needs and reports.
Does not: the steps themselves (warehouse/ingest), or rules about the data.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import dagster as dg

from pipelines import config, event_prefixes, metadata
from pipelines.config import ImagesConfig, ListingConfig, StepConfig
from pipelines.deployment import OWNERS, POOL, Deployment
from pipelines.publishing import build_asset
from pipelines.resources import ChestWarehouse
from pipelines.retries import retry_when_healing
from warehouse.ingest import BucketRun, list_objects, load_clinical, load_images, reextract
from warehouse.lake import store
from warehouse.settings import load_suppress

#: The table that each step fills, as its asset shows it.
TABLES = {"objects": "raw.objects", "images": "core.images", "clinical": "core.clinical"}


def build(deployment: Deployment) -> list[dg.AssetsDefinition]:
    """The steps of every source, and the one that publishes."""
    steps = [
        step(deployment, source)
        for source in deployment.names
        for step in (_build_objects, _build_images, _build_clinical)
    ]
    return [*steps, build_asset(deployment)]


def _declare_asset(deployment: Deployment, step: str, source: str) -> Callable[[Any], dg.AssetsDefinition]:
    key = deployment.key(step, source)
    return dg.asset(
        key=key,
        deps=[] if step == "objects" else [deployment.key("objects", source)],
        group_name="raw" if step == "objects" else "core",
        kinds={"s3", "duckdb", "parquet"} if step == "objects" else {"duckdb", "parquet", "json"},
        owners=OWNERS,
        tags={"source": source} if source else {},
        metadata=metadata.describe_relation(TABLES[step]),
        pool=POOL,
    )


def _build_objects(deployment: Deployment, source: str) -> dg.AssetsDefinition:
    @_declare_asset(deployment, "objects", source)
    def objects(
        context: dg.AssetExecutionContext, config: ListingConfig, chest: ChestWarehouse
    ) -> dg.MaterializeResult[None]:
        """Every live object of the bucket, of any kind.

        Lists the bucket and compares it with what was known. Objects that are replaced or gone lose their rows
        in the tables below; a listing that lacks over 10 % of the known objects is refused.
        """

        def work(run: BucketRun) -> dict[str, Any]:
            counts = asdict(list_objects(run, config.allow_removals, config.full))
            return counts if counts["note"] else {name: n for name, n in counts.items() if name != "note"}

        return _run_step(context, chest, deployment, (source, "objects"), work)

    return objects


def _build_images(deployment: Deployment, source: str) -> dg.AssetsDefinition:
    @_declare_asset(deployment, "images", source)
    def images(
        context: dg.AssetExecutionContext, config: ImagesConfig, chest: ChestWarehouse
    ) -> dg.MaterializeResult[None]:
        """Every image: its DICOM header typed, and the object that holds its pixels.

        Loads the headers that are listed but not yet read into core.images, whole into raw.headers; what
        cannot be read goes to ops.rejects with the reason.
        """

        def work(run: BucketRun) -> dict[str, Any]:
            again = {"reextracted": reextract(run)} if config.reextract else {}
            return {**asdict(load_images(run)), **again}

        return _run_step(context, chest, deployment, (source, "images"), work)

    return images


def _build_clinical(deployment: Deployment, source: str) -> dg.AssetsDefinition:
    @_declare_asset(deployment, "clinical", source)
    def clinical(
        context: dg.AssetExecutionContext,
        config: StepConfig,  # noqa: ARG001 - read from the run, with those of the other steps
        chest: ChestWarehouse,
    ) -> dg.MaterializeResult[None]:
        """Every clinical file, the full history.

        Loads the files that are listed but not yet read into core.clinical, whole into raw.records; what
        cannot be read goes to ops.rejects with the reason.
        """

        def work(run: BucketRun) -> dict[str, Any]:
            return asdict(load_clinical(run))

        return _run_step(context, chest, deployment, (source, "clinical"), work)

    return clinical


def _run_step(
    context: dg.AssetExecutionContext,
    chest: ChestWarehouse,
    deployment: Deployment,
    what: tuple[str, str],
    work: Callable[[BucketRun], dict[str, Any]],
) -> dg.MaterializeResult[None]:
    """Do one step of a source; report its counts, the table's rows, source, newest snapshot and seconds.

    Numbers are rounded to the unit of the step's table: Dagster's pages have many readers, and and one refresh may
    bring the data of a single patient.
    """
    started = time.monotonic()
    source, step = what
    with retry_when_healing(context):
        given = config.read_run_config(context.run.run_config, deployment)
        prefixes, patients, changes = config.find_limits(given[what], given[source, "objects"])
        changed = event_prefixes.read_prefixes(chest.folder, changes) if changes else []
    with chest.opened(context, source, prefixes, patients, changed) as run:
        counts = work(run)
        rows = metadata.count_rows(run.con, TABLES[step], load_suppress())
        snapshot = store.list_snapshots(run.con)[-1].number
        bucket = run.source
    seconds = round(time.monotonic() - started, 2)
    shown = metadata.round_counts(counts, rows.unit)
    context.log.info(f"{metadata.describe_counts(shown)} (snapshot {snapshot}, {seconds} s)")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.rows,
            **shown,
            "source": bucket,
            "snapshot": snapshot,
            "seconds": seconds,
        }
    )
