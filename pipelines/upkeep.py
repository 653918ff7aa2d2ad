"""The weekly upkeep of the lake as a job."""

from collections.abc import Sequence

from pipelines.deployment import Definition, Deployment


def build(deployment: Deployment) -> Sequence[Definition]:  # noqa: ARG001
    """What Dagster is to load."""
    return []


JOB = "upkeep"
