"""Which refreshes run or wait: schedules and sensors ask before they start another."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from pipelines.deployment import Deployment

#: All that a run goes through before it is over.
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
#: That a sensor rests after a failed refresh.
REST = timedelta(hours=3)


def list_refresh_jobs(deployment: Deployment) -> list[str]:
    """The names of all jobs that refresh the lake, whole or one source."""
    return sorted({deployment.refresh_job(), *map(deployment.refresh_job, deployment.sources)})


def find_reason_to_wait(instance: dg.DagsterInstance, jobs: list[str]) -> str:
    """Why none of these jobs should be started now, in a sentence; "" when there is no reason."""
    for job in jobs:
        for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNFINISHED), limit=1):
            is_waiting = run.status == dg.DagsterRunStatus.QUEUED
            return f"Run {run.run_id} of {job} {'is queued' if is_waiting else 'has not finished'}."
    return ""


def find_reason_to_rest(instance: dg.DagsterInstance, jobs: list[str]) -> str:
    """Why changes alone should not start these jobs again: the last run failed a short while ago; "" when it did not.

    The cause is rarely gone at the next tick, and each failed run is reported to people. The schedule, and
    runs started by hand, do not wait.
    """
    last = find_newest_run(instance, jobs)
    record = instance.get_run_record_by_id(last)
    if record is None or record.dagster_run.status != dg.DagsterRunStatus.FAILURE:
        return ""
    again = datetime.fromtimestamp(record.end_time or 0, UTC) + REST
    if again <= datetime.now(UTC):
        return ""
    return (
        f"The last refresh, run {last}, failed: the next attempt is at {again:%H:%M} UTC, or after a refresh by hand."
    )


def find_newest_run(instance: dg.DagsterInstance, jobs: list[str]) -> str:
    """The id of the youngest run of any of these jobs, "none" without one: a key for what may follow it once."""
    records = [record for job in jobs for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)]
    return max(records, key=lambda record: record.storage_id).dagster_run.run_id if records else "none"
