"""Puts together what Dagster loads: `dagster dev -m pipelines.definitions`.

Belongs here: the list of assets, jobs and resources, and how runs are executed.
Does not: what any of them does.
"""

import os
from collections.abc import Mapping

import dagster as dg

from pipelines import alerts, assets, checks, cohorts, jobs, maintenance, run_retention, schedules, sensors, views
from pipelines.deployment import read_deployment
from pipelines.resources import ChestWarehouse
from warehouse.filesystem import permissions


def chest_definitions(environ: Mapping[str, str] = os.environ, **resources: object) -> dg.Definitions:
    """Assemble everything for the deployment that the environment describes.

    A resource given by name replaces ours: `chest=ChestWarehouse(source=…, lake=…)`. A lake takes one writer at a time,
    so steps run one after the other in the run's own process, whatever starts them: a job, or "Materialize all" in the
    UI. Nothing here opens a lake or a bucket. UsageError for a ChestWarehouse with a login.
    """
    deployment = read_deployment(environ)
    used = {"chest": ChestWarehouse(sources=dict(deployment.sources))} | resources
    for resource in used.values():
        if isinstance(resource, ChestWarehouse):
            resource.refuse_logins()
    parts = [
        part
        for module in (jobs, schedules, sensors, alerts, maintenance, run_retention)
        for part in module.build(deployment)
    ]
    is_sensor = (dg.SensorDefinition,)
    return dg.Definitions(
        assets=[*assets.build(deployment), *views.build(deployment), *cohorts.build(deployment)],
        asset_checks=checks.build(deployment),
        jobs=[part for part in parts if not isinstance(part, (dg.ScheduleDefinition, *is_sensor))],
        schedules=[part for part in parts if isinstance(part, dg.ScheduleDefinition)],
        sensors=[part for part in parts if isinstance(part, is_sensor)],
        resources=used,
        executor=dg.in_process_executor,
    )


os.umask(permissions.find_umask())  # of the processes that Dagster starts to run this: logs of steps, too
defs = chest_definitions()
