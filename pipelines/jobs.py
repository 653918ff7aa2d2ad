"""The jobs that refresh the lake: `refresh` for all sources, `refresh_<name>` for one of several.

A refresh is the steps, what publishes, and the checks of what readers then see. Cohorts are no part of it: they follow
by their automation conditions (pipelines/cohorts.py).
"""

from collections.abc import Sequence

import dagster as dg

from pipelines import checks
from pipelines.deployment import PUBLISHED, STEPS, Definition, Deployment

_ALL = "Brings the lake up to date with the bucket and publishes it; without changes it does nothing."


def build(deployment: Deployment) -> Sequence[Definition]:
    """`refresh`, and one for each of several sources."""
    jobs = [_build_refresh(deployment, "", deployment.names, _ALL)]
    jobs += [
        _build_refresh(
            deployment, name, (name,), f"Brings the lake up to date with the source {name} only, and publishes it."
        )
        for name in deployment.sources
    ]
    return jobs


def _build_refresh(deployment: Deployment, name: str, sources: Sequence[str], description: str) -> Definition:
    steps = [deployment.key(step, source) for source in sources for step in STEPS]
    quality = checks.QUALITY
    return dg.define_asset_job(
        deployment.refresh_job(name),
        selection=dg.AssetSelection.assets(*steps, PUBLISHED).without_checks()
        | dg.AssetSelection.checks(*checks.list_keys(deployment, quality)),
        description=description,
    )
