"""When a refresh and the maintenance start by themselves.

The times are those of pipelines/settings.py (CHEST_REFRESH_SCHEDULE, CHEST_MAINTENANCE_SCHEDULE, CHEST_TIMEZONE).
"""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import dagster as dg

from pipelines.deployment import Definition, Deployment
from pipelines.maintenance import JOB as MAINTENANCE
from pipelines.run_state import find_reason_to_wait, list_refresh_jobs
from warehouse.errors import UsageError


def build(deployment: Deployment) -> Sequence[Definition]:
    """Build the schedules of refresh and maintenance, running from the start; UsageError names an invalid variable."""
    settings = deployment.settings
    refresh = deployment.refresh_job()
    return [
        _build_schedule(
            refresh, "REFRESH", settings.refresh_schedule, settings.timezone, list_refresh_jobs(deployment)
        ),
        _build_schedule(MAINTENANCE, "MAINTENANCE", settings.maintenance_schedule, settings.timezone, [MAINTENANCE]),
    ]


def _build_schedule(job: str, word: str, cron: str, timezone: str, alone: list[str]) -> dg.ScheduleDefinition:
    """A job at its times; a tick is skipped while one of the jobs in `alone` runs or waits."""
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise UsageError(f"CHEST_TIMEZONE={timezone!r} is not a valid time zone (example: Europe/London).") from None

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if why := find_reason_to_wait(context.instance, alone):
            return dg.SkipReason(f"{why} No run is started alongside it.")
        return dg.RunRequest()

    try:
        return dg.ScheduleDefinition(
            name=f"{job}_schedule",
            job_name=job,
            cron_schedule=cron,
            execution_timezone=timezone,
            execution_fn=evaluate,
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
    except dg.DagsterInvalidDefinitionError:
        raise UsageError(
            f"CHEST_{word}_SCHEDULE={cron!r} is not a valid cron schedule. Give minute, hour, day, month and weekday:  "
            "'0 3 * * 1,4' is 03:00 on Monday and Thursday."
        ) from None
