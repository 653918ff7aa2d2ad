"""The four steps of a refresh as Dagster assets: objects → images, clinical → published.

Belongs here: what each step is called, needs and reports.
Does not: the steps themselves (warehouse/steps), or rules about the data.
"""

import time
from collections.abc import Callable
from dataclasses import asdict

import dagster as dg
from pydantic import Field

from pipelines.resources import ChestWarehouse
from warehouse import columns, lake
from warehouse.steps import Run, list_objects, load_clinical, load_images, publish, reextract


class StepConfig(dg.Config):
    """What part of the bucket a step touches."""

    prefix: str = Field("", description="Touch only keys that start with this, as in training/Covid12/.")


class ListingConfig(StepConfig):
    """How a listing is believed."""

    allow_removals: bool = Field(False, description="Believe a listing that lacks over 10 % of the objects.")


class ImagesConfig(StepConfig):
    """What images are typed."""

    reextract: bool = Field(
        False, description="Type all stored headers again, for a column that was added; nothing is fetched."
    )


def _described(table: str) -> dict[str, object]:
    """A table's name and declared columns: they make Dagster's catalogue a data dictionary."""
    declared = [
        dg.TableColumn(c.name, c.type, description=f"{c.meaning} [{c.unit}]" if c.unit else c.meaning)
        for c in columns.relations()[table].columns
    ]
    return {"dagster/table_name": table, "dagster/column_schema": dg.TableSchema(columns=declared)}


def _materialized(
    context: dg.AssetExecutionContext,
    chest: ChestWarehouse,
    table: str,
    work: Callable[[Run], dict[str, int]],
    prefix: str = "",
) -> dg.MaterializeResult[None]:
    """Do one step; report its counts, the table's rows, source, newest snapshot and seconds."""
    started = time.monotonic()
    with chest.opened(context, prefix) as run:
        counts = work(run)
        row = run.con.execute(f"select count(*) from {lake.ALIAS}.{table}").fetchone()
        snapshot = lake.snapshots(run.con)[-1].number
        source = run.bucket.source
    seconds = round(time.monotonic() - started, 2)
    news = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count and name != "is_new")
    context.log.info(f"{news or 'nothing new'} (snapshot {snapshot}, {seconds} s)")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": row[0] if row else 0,
            **counts,
            "source": source,
            "snapshot": snapshot,
            "seconds": seconds,
        }
    )


@dg.asset(group_name="raw", kinds={"s3", "duckdb", "parquet"}, metadata=_described("raw.objects"))
def objects(
    context: dg.AssetExecutionContext, config: ListingConfig, chest: ChestWarehouse
) -> dg.MaterializeResult[None]:
    """Every live object of the bucket, whatever it is.

    Lists the bucket and compares it with what was known. Objects that are replaced or gone lose their rows
    in the tables below; a listing that lacks over 10 % of the known objects is refused.
    """

    def work(run: Run) -> dict[str, int]:
        return asdict(list_objects(run, config.allow_removals))

    return _materialized(context, chest, "raw.objects", work, config.prefix)


@dg.asset(deps=[objects], group_name="core", kinds={"duckdb", "parquet", "json"}, metadata=_described("core.images"))
def images(
    context: dg.AssetExecutionContext, config: ImagesConfig, chest: ChestWarehouse
) -> dg.MaterializeResult[None]:
    """Every image: its DICOM header typed, and the object that holds its pixels.

    Loads the headers that are listed but not yet read into core.images, whole into raw.headers; what
    cannot be read goes to ops.rejects with the reason.
    """

    def work(run: Run) -> dict[str, int]:
        again = {"reextracted": reextract(run).loaded} if config.reextract else {}
        return {**asdict(load_images(run)), **again}

    return _materialized(context, chest, "core.images", work, config.prefix)


@dg.asset(
    deps=[objects],
    group_name="core",
    kinds={"duckdb", "parquet", "json"},
    metadata=_described("core.clinical"),
)
def clinical(
    context: dg.AssetExecutionContext, config: StepConfig, chest: ChestWarehouse
) -> dg.MaterializeResult[None]:
    """Every clinical file, the full history.

    Loads the files that are listed but not yet read into core.clinical, whole into raw.records; what
    cannot be read goes to ops.rejects with the reason.
    """

    def work(run: Run) -> dict[str, int]:
        return asdict(load_clinical(run))

    return _materialized(context, chest, "core.clinical", work, config.prefix)


@dg.asset(
    deps=[images, clinical],
    group_name="published",
    kinds={"duckdb", "parquet"},
    metadata=_described("ops.refreshes"),
)
def published(context: dg.AssetExecutionContext, chest: ChestWarehouse) -> dg.MaterializeResult[None]:
    """The snapshot that readers see.

    Publishes what was committed since the last published snapshot; when that is nothing, the last one stands.
    """

    def work(run: Run) -> dict[str, int]:
        done = publish(run)
        return {"is_new": done.is_new, **done.counts}

    return _materialized(context, chest, "ops.refreshes", work)


ASSETS = [objects, images, clinical, published]
