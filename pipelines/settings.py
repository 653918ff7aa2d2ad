"""Settings of a scheduled deployment, beyond those of the library (warehouse/settings.py): environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from warehouse.masking import MASK, name_address, show_fields
from warehouse.settings import load_fields


@dataclass(frozen=True, slots=True, repr=False)
class PipelineSettings:
    """When jobs run, where manifests and alerts go; each field is read from CHEST_<FIELD IN CAPITALS>."""

    refresh_schedule: str = "0 3 * * 1,4"  # cron, in `timezone`: Monday and Thursday 03:00
    maintenance_schedule: str = "0 4 * * 0"  # Sunday 04:00
    timezone: str = "Europe/London"
    manifests: str = "./manifests"  # the folder of the manifests and reports of scheduled cohorts
    event_queue: str = ""  # URL of the SQS queue with the events of new objects
    alert: str = ""  # where failures are reported: a log file, https://… or smtp://…

    def __repr__(self) -> str:
        """The settings that differ from the defaults, without secrets; only the host of the place of alerts."""
        try:
            shown = replace(self, alert=name_address(self.alert))
        except ValueError:
            shown = replace(self, alert=MASK)
        return show_fields(shown)


#: The former names of variables, which are read for one more minor version.
_FORMER_NAMES = {"CHEST_MAINTENANCE_SCHEDULE": "CHEST_UPKEEP_SCHEDULE"}


def load_pipeline_settings(environ: Mapping[str, str] = os.environ) -> PipelineSettings:
    """Return the settings with CHEST_* variables applied; unlike numbers, texts are checked where they are used."""
    return load_fields(PipelineSettings, environ, _FORMER_NAMES)
