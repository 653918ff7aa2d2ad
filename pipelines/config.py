"""The configuration of a run: which part of a bucket to read, and how much of the existing state to trust.

The configuration of a source's `objects` applies to its whole run. It is validated before the first step begins.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.deployment import Deployment
from warehouse.errors import UsageError
from warehouse.ingest import scope


class StepConfig(dg.Config):
    """The part of the bucket that a step reads; all of it by default."""

    prefix: str = Field("", description="Read only keys that start with this, as in training/Covid12/.")
    patients: list[str] = Field([], description="Read only the objects of these patients, in every group.")

    @property
    def is_limited(self) -> bool:
        """Whether it names a part of the bucket."""
        return bool(self.prefix or self.patients)

    @property
    def prefixes(self) -> list[str]:
        """The prefix as the library expects it."""
        return [self.prefix] if self.prefix else []


class ListingConfig(StepConfig):
    """How far a listing is trusted."""

    allow_removals: bool = Field(False, description="Accept a listing that lacks over 10 % of the objects.")
    full: bool = Field(False, description="Read every object again, changed or not.")
    changes: str = Field(
        "", description="Name of the changes that the event queue reported: read only keys with their prefixes."
    )


class ImagesConfig(StepConfig):
    """Which images are typed again."""

    reextract: bool = Field(
        False, description="Extract all stored headers again, for an added column; nothing is fetched."
    )


class PublishConfig(dg.Config):
    """Under which conditions a snapshot is published."""

    allow_removals: bool = Field(
        False, description="Publish even if over 10 % of the rows of a source wait for content that cannot be read."
    )


KINDS: dict[str, type[StepConfig]] = {"objects": ListingConfig, "images": ImagesConfig, "clinical": StepConfig}


def read_run_config(run_config: Mapping[str, Any], deployment: Deployment) -> dict[tuple[str, str], StepConfig]:
    """The configuration of a run, by source and step; UsageError names the step with an invalid one, never a patient.

    Dagster has looked at names and types before; a validator of the config's own would fail with a stack, not a line.
    """
    ops = run_config.get("ops") or {}
    found: dict[tuple[str, str], StepConfig] = {}
    for source in deployment.names:
        for step, kind in KINDS.items():
            name = deployment.op(step, source)
            given = kind(**(ops.get(name, {}).get("config") or {}))
            try:
                scope.check_scope(given.prefixes, given.patients)
            except UsageError as error:
                raise UsageError(f"Run config of {name}: {error}") from None
            found[source, step] = given
    return found


def find_limits(config: StepConfig, of_listing: StepConfig) -> tuple[list[str], list[str], str]:
    """The prefixes and patients that a step keeps to, and the name of the changes: its own, else its listing's."""
    chosen = config if config.is_limited else of_listing
    return chosen.prefixes, chosen.patients, chosen.changes if isinstance(chosen, ListingConfig) else ""
