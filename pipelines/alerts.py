"""Reports failures where people look: a sensor that turns failed runs and a stale `published` into one line each.

Belongs here: which events are reported, and the line. Not: how a line is delivered (notify.py).

Dagster's own run_failure_sensor is not used: it skips a run whose alert could not be delivered, and over all
that failed before its first tick.
"""

import time
from collections.abc import Iterator, Sequence

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState
from pydantic import BaseModel

from pipelines import notify
from pipelines.deployment import PUBLISHED, Definition, Deployment
from pipelines.retries import to_one_line
from warehouse.errors import WarehouseError

SENSOR = "alerts"
#: Age of failures before the first tick that are still reported.
_FIRST_LOOK_SECONDS = 3600
_RUNS_A_TICK = 20


class Cursor(BaseModel):
    """What was reported: failures up to this event of Dagster's log, and whether `published` is known to be too old."""

    failure: int
    stale: bool = False


def build(deployment: Deployment) -> Sequence[Definition]:
    """The sensor; UsageError when CHEST_ALERT is not an address."""
    place = deployment.settings.alert
    notify.check_place(place)

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Reports failed runs and outdated snapshots to {notify.name_place(place) or 'this log'}.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursor = Cursor.model_validate_json(context.cursor) if context.cursor else _find_first_cursor(context.instance)
        context.update_cursor(cursor.model_dump_json())
        n_sent = 0
        for line, after in _find_events(context.instance, cursor, PUBLISHED):
            context.log.error(line)
            try:
                if place:
                    notify.post_line(place, line)
            except WarehouseError as error:
                context.log.error(f"{error} The next tick tries again.")
                return dg.SkipReason(f"{error} The alerts wait for the next tick.")
            n_sent += 1
            context.update_cursor(after.model_dump_json())
        return dg.SkipReason(f"Reported {n_sent} line{'s' * (n_sent != 1)}." if n_sent else "Nothing to report.")

    return [alerts]


def _find_first_cursor(instance: dg.DagsterInstance) -> Cursor:
    """Find where a new sensor starts: after the failures long before it."""
    before = dg.RunStatusChangeRecordsFilter(
        dg.DagsterEventType.RUN_FAILURE, before_timestamp=time.time() - _FIRST_LOOK_SECONDS
    )
    records = instance.fetch_run_status_changes(before, limit=1).records
    return Cursor(failure=records[0].storage_id if records else 0)


def _find_events(instance: dg.DagsterInstance, cursor: Cursor, published: dg.AssetKey) -> Iterator[tuple[str, Cursor]]:
    """Lines not yet reported, each with the cursor to keep once it is."""
    changes = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=cursor.failure)
    for record in instance.fetch_run_status_changes(changes, limit=_RUNS_A_TICK, ascending=True).records:
        cursor = cursor.model_copy(update={"failure": record.storage_id})
        run = instance.get_run_by_id(record.run_id)
        if run is not None:
            yield describe_failure(instance, run, record.event_log_entry.dagster_event), cursor
    state = instance.get_freshness_state_records([published]).get(published)
    is_stale = state is not None and state.freshness_state == FreshnessState.FAIL
    if is_stale and not cursor.stale:
        yield describe_staleness(instance, published), cursor.model_copy(update={"stale": True})
    elif state is not None and not is_stale and cursor.stale:
        yield f"chest: {published.to_user_string()} is fresh again.", cursor.model_copy(update={"stale": False})


def describe_failure(instance: dg.DagsterInstance, run: dg.DagsterRun, event: dg.DagsterEvent | None) -> str:
    """Describe job, step, reason and run in one line; of a program fault only the class: its text may quote data."""
    failed = _fetch_events(instance, run, dg.DagsterEventType.STEP_FAILURE)
    steps = [e.step_key for e in failed if e.step_key] or _find_unfinished_steps(instance, run)
    reasons = [_find_reason(e) for e in failed] or [_explain_end(instance, run, event)]
    at = f" at {', '.join(steps)}" if steps else ""
    again = " Dagster starts it again." if run.tags.get("dagster/will_retry") == "true" else ""
    return f"chest: {run.job_name} failed{at}: {' | '.join(dict.fromkeys(reasons))}{again} (run {run.run_id})"


def describe_staleness(instance: dg.DagsterInstance, published: dg.AssetKey) -> str:
    """That nothing was published for longer than the freshness policy allows."""
    event = instance.get_latest_materialization_event(published)
    days = f"{(time.time() - event.timestamp) / 86400:.0f} days" if event else "too long"
    return f"chest: {published.to_user_string()} is stale: no refresh for {days}. Check for failed or missing runs."


def _find_reason(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None:
        return to_one_line(data.user_failure_data.description or "no reason was given")
    error = data.error.cause or data.error if data.error else None
    return f"a fault of the program ({error.cls_name if error else 'unknown'}); the run has its traceback"


def _fetch_events(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
    records = instance.get_records_for_run(run.run_id, of_type=kind).records
    return [event for event in (record.event_log_entry.dagster_event for record in records) if event is not None]


def _find_unfinished_steps(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Find the steps that a run had begun but not ended when its process died."""
    begun = [e.step_key for e in _fetch_events(instance, run, dg.DagsterEventType.STEP_START) if e.step_key]
    done = {e.step_key for e in _fetch_events(instance, run, dg.DagsterEventType.STEP_SUCCESS)}
    return [step for step in dict.fromkeys(begun) if step not in done]


def _explain_end(instance: dg.DagsterInstance, run: dg.DagsterRun, event: dg.DagsterEvent | None) -> str:
    """Explain why a run without a failed step ended: by what Dagster observed of its process, else by its message."""
    seen = [e.message or "" for e in _fetch_events(instance, run, dg.DagsterEventType.ENGINE_EVENT)]
    crashes = [message for message in seen if message.startswith("Run execution process")]
    return to_one_line(crashes[-1] if crashes else (event and event.message) or "no reason was given")
