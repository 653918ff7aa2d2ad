"""What shapes the graph, read once when definitions load: the settings, and which sources feed the lake.

A deployment is one lake and one or several sources. With one, CHEST_SOURCE, it is read when a run starts; several,
CHEST_SOURCES, are part of the assets' names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

from pipelines.settings import PipelineSettings, load_pipeline_settings
from pipelines.sources import parse_sources
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

#: What the modules of this package hand to definitions.py, besides assets and checks.
Definition: TypeAlias = "dg.JobDefinition | UnresolvedAssetJobDefinition | dg.ScheduleDefinition | dg.SensorDefinition"

#: Whatever writes the lake, in Dagster's words: dagster.yaml limits this pool to one.
POOL = "lake"
#: Who answers for the assets.
OWNERS = ["team:chest-data"]
#: The steps of a source, in order, and the step that all sources share.
STEPS = ("objects", "images", "clinical")
PUBLISHED = dg.AssetKey("published")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One lake and its sources by name; {} where there is one without a name."""

    settings: PipelineSettings = field(default_factory=PipelineSettings)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The sources' names; one empty name where the source has none."""
        return tuple(self.sources) or ("",)

    def key(self, step: str, source: str = "") -> dg.AssetKey:
        """The asset of a step of a source: `objects`, or `training/objects`."""
        return dg.AssetKey([source, step] if source else [step])

    def op(self, step: str, source: str = "") -> str:
        """The name of that asset's step in a run, and in run config: `objects`, or `training__objects`."""
        return "__".join(self.key(step, source).path)

    def refresh_job(self, source: str = "") -> str:
        """The name of the job that refreshes all sources, or one of several."""
        return f"refresh_{source}" if source else "refresh"


def read_deployment(environ: Mapping[str, str]) -> Deployment:
    """The deployment that the environment describes; UsageError names the variable that is wrong."""
    return Deployment(load_pipeline_settings(environ), parse_sources(load_settings(environ)))
