"""Sensors: they start runs because a bucket is new or has changed, or because views have changed.

Belongs here: when to look and what to start. Not: how changes are detected (warehouse/change_detection).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import checks, event_prefixes
from pipelines.deployment import PUBLISHED, STEPS, Definition, Deployment
from pipelines.retries import to_one_line
from pipelines.run_state import find_newest_run, find_reason_to_rest, find_reason_to_wait, list_refresh_jobs
from warehouse import change_detection
from warehouse.errors import WarehouseError
from warehouse.ingest.sources import is_known
from warehouse.settings import SOURCE_VARIABLE, Settings, load_settings

AUTOMATION = "automation"
EVENTS = "events"
FIRST_REFRESH = "first_refresh"
#: Seconds between two looks at a queue, and at a lake.
_QUEUE_SECONDS, _FIRST_SECONDS = 60, 60


def build(deployment: Deployment) -> Sequence[Definition]:
    """The sensors, running from the start: one for each source, and one of the queue where there is one."""
    automation = dg.AutomationConditionSensorDefinition(
        AUTOMATION,
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Runs cohorts again, and writes their manifests, when their data have changed.",
    )
    first = [_build_first_refresh_sensor(deployment, source) for source in deployment.names]
    return [automation, *first, *([_build_queue_sensor(deployment)] if deployment.settings.event_queue else [])]


def _build_queue_sensor(deployment: Deployment) -> dg.SensorDefinition:
    """One sensor for the queue, whatever number of sources it serves: each message can be received only once."""
    names = list_refresh_jobs(deployment)

    @dg.sensor(
        name=EVENTS,
        job_name=deployment.refresh_job(),
        minimum_interval_seconds=_QUEUE_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a refresh when the event queue reports new objects. Messages wait while one runs.",
    )
    def queue(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        if why := find_reason_to_wait(context.instance, names) or find_reason_to_rest(context.instance, names):
            yield dg.SkipReason(f"{why} Messages wait in the queue.")
            return
        settings = load_settings()
        sources = deployment.sources or {"": settings.source}
        try:
            with change_detection.receive_events(
                deployment.settings.event_queue, list(sources.values()), settings
            ) as found:
                if found.new:
                    context.log.info(found.why)
                    changed = [name for name, source in sources.items() if source in found.sources]
                    request = _build_request(
                        context,
                        names,
                        deployment.refresh_job(),
                        _build_run_config(deployment, changed, found, settings),
                    )
                    yield _select_sources(request, deployment, changed)
                else:
                    yield dg.SkipReason(found.why)
        except WarehouseError as error:
            context.log.error(to_one_line(str(error)))
            yield dg.SkipReason(to_one_line(str(error)))

    return queue


def _build_first_refresh_sensor(deployment: Deployment, name: str) -> dg.SensorDefinition:
    """A sensor that starts the first refresh of a source; later ones are the schedule's, and the queue's."""
    names = list_refresh_jobs(deployment)
    job = deployment.refresh_job(name)

    @dg.sensor(
        name=f"{FIRST_REFRESH}_{name}" if name else FIRST_REFRESH,
        job_name=job,
        minimum_interval_seconds=_FIRST_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the first refresh of a bucket that the lake does not know yet.",
    )
    def bucket(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if why := find_reason_to_wait(context.instance, names) or find_reason_to_rest(context.instance, names):
            return dg.SkipReason(f"{why} No run is started alongside it.")
        try:
            settings = load_settings()
            source = deployment.sources.get(name) or settings.source
            if not source:
                return dg.SkipReason(f"No bucket is named. Set {SOURCE_VARIABLE}.")
            if is_known(source, settings.lake, settings):
                return dg.SkipReason("The lake knows this bucket; the schedule refreshes it.")
        except WarehouseError as error:
            context.log.error(to_one_line(str(error)))
            return dg.SkipReason(to_one_line(str(error)))
        context.log.info("The lake does not know this bucket yet.")
        return _build_request(context, names, job, {})

    return bucket


def _build_request(
    context: dg.SensorEvaluationContext, names: list[str], job: str, run_config: dict[str, Any]
) -> dg.RunRequest:
    """One run of a job, and only one to follow the last refresh of any of `names`."""
    return dg.RunRequest(
        run_key=f"after {find_newest_run(context.instance, names)}", job_name=job, run_config=run_config
    )


def _build_run_config(
    deployment: Deployment, changed: list[str], found: change_detection.Changes, settings: Settings
) -> dict[str, Any]:
    """Run config by which a refresh lists only the changed prefixes: for one that would otherwise use an inventory,
    which is older than the changes."""
    if not (settings.inventory and found.prefixes):
        return {}
    name = event_prefixes.store_prefixes(Path(deployment.settings.manifests), found.prefixes)
    config = {"config": {"changes": name}}
    return {"ops": {deployment.op("objects", name): config for name in changed}}


def _select_sources(request: dg.RunRequest, deployment: Deployment, sources: list[str]) -> dg.RunRequest:
    """The same for some of the sources; what is published, and its checks, are those of all."""
    if len(sources) == len(deployment.names):
        return request
    steps = [deployment.key(step, source) for source in sources for step in STEPS]
    of_all = checks.list_keys(deployment, checks.QUALITY)
    return request.with_replaced_attrs(asset_selection=[*steps, PUBLISHED], asset_check_keys=list(of_all))
