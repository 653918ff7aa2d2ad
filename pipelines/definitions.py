"""Puts together what Dagster loads: `dagster dev -m pipelines.definitions`.

Belongs here: the list of assets, jobs and resources, and how runs are executed.
Does not: what any of them does.
"""

import dagster as dg

from pipelines.assets import ASSETS
from pipelines.resources import ChestWarehouse

REFRESH = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.assets(*ASSETS),
    description="Brings the lake level with the bucket and publishes it; run again, it does nothing, fast.",
)


def chest_definitions(**resources: object) -> dg.Definitions:
    """Assemble everything; a resource given by name replaces ours: `chest=ChestWarehouse(source=…, lake=…)`.

    A lake takes one writer at a time, so steps run one after the other in the run's own process, whatever
    starts them: the job, or "Materialize all" in the UI.
    """
    return dg.Definitions(
        assets=ASSETS,
        jobs=[REFRESH],
        resources={"chest": ChestWarehouse()} | resources,
        executor=dg.in_process_executor,
    )


defs = chest_definitions()
