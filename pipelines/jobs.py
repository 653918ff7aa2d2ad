"""The jobs that refresh the lake: `refresh` for all sources, `refresh_<name>` for one of several."""

from collections.abc import Sequence

import dagster as dg

from pipelines.assets import ASSETS
from pipelines.deployment import Definition, Deployment


def build(deployment: Deployment) -> Sequence[Definition]:
    """What Dagster is to load."""
    return [
        dg.define_asset_job(
            deployment.refresh_job(),
            selection=dg.AssetSelection.assets(*ASSETS),
            description="Brings the lake level with the bucket and publishes it; run again, it does nothing, fast.",
        )
    ]
