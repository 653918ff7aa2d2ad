"""What a run can be told: which part of a bucket to touch, and how much of what is known to believe.

What is said at a source's `objects` holds for its whole run. All of it is looked at before the first step begins.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.deployment import Deployment
from warehouse.errors import UsageError
from warehouse.ingest import scope


class StepConfig(dg.Config):
    """What part of the bucket a step touches; the whole of it, unless something is said."""

    prefix: str = Field("", description="Touch only keys that start with this, as in training/Covid12/.")
    patients: list[str] = Field([], description="Touch only the objects of these patients, in every group.")

    @property
    def is_limited(self) -> bool:
        """Whether it names a part of the bucket."""
        return bool(self.prefix or self.patients)

    @property
    def prefixes(self) -> list[str]:
        """The prefix as the library takes it."""
        return [self.prefix] if self.prefix else []


class ListingConfig(StepConfig):
    """How a listing is believed."""

    allow_removals: bool = Field(False, description="Believe a listing that lacks over 10 % of the objects.")
    full: bool = Field(False, description="Read every object again, whatever is known of it.")
    heard: list[str] = Field(
        [], description="Where a sensor heard of news: touch only keys that start so; there need not be any."
    )


class ImagesConfig(StepConfig):
    """What images are typed."""

    reextract: bool = Field(
        False, description="Type all stored headers again, for a column that was added; nothing is fetched."
    )


class PublishConfig(dg.Config):
    """What is published."""

    allow_removals: bool = Field(
        False, description="Publish although over 10 % of the rows of a source wait for content that cannot be read."
    )


KINDS: dict[str, type[StepConfig]] = {"objects": ListingConfig, "images": ImagesConfig, "clinical": StepConfig}


def read_run_config(run_config: Mapping[str, Any], deployment: Deployment) -> dict[tuple[str, str], StepConfig]:
    """What a run says, by source and step; UsageError names the step whose config cannot be, never a patient.

    Dagster has looked at names and types before; a validator of the config's own would fail with a stack, not a line.
    """
    ops = run_config.get("ops") or {}
    found: dict[tuple[str, str], StepConfig] = {}
    for source in deployment.names:
        for step, kind in KINDS.items():
            name = deployment.op(step, source)
            said = kind(**(ops.get(name, {}).get("config") or {}))
            try:
                scope.check_scope(said.prefixes, said.patients)
            except UsageError as error:
                raise UsageError(f"Run config of {name}: {error}") from None
            found[source, step] = said
    return found


def find_limits(config: StepConfig, of_listing: StepConfig) -> tuple[list[str], list[str], list[str]]:
    """The prefixes and patients that a step keeps to, and where news was heard of: its own, else its listing's."""
    chosen = config if config.is_limited else of_listing
    return chosen.prefixes, chosen.patients, chosen.heard if isinstance(chosen, ListingConfig) else []
