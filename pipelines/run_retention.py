"""How long Dagster's own history is kept: it has no retention of runs, so the maintenance job forgets old ones."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage

from pipelines.deployment import Definition, Deployment

_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many runs were forgotten, and how many old ones stay because they are the last record of an asset."""

    runs_forgotten: int
    runs_kept: int


def forget_runs(instance: dg.DagsterInstance, keep_days: int) -> Forgotten:
    """Delete runs that ended more than `keep_days` ago, with their events and the output of their steps.

    A run stays while the newest materialization of any asset, or the newest result of any check, is its own:
    without it the catalogue would have gaps, and automation would answer cohorts again for nothing.
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    old = set(instance.get_run_ids(dg.RunsFilter(statuses=_OVER, updated_before=before)))
    needed = _find_newest_events(instance, old)
    for run_id in old - needed:
        _delete(instance, run_id)
    return Forgotten(len(old - needed), len(old & needed))


def _find_newest_events(instance: dg.DagsterInstance, runs: Collection[str]) -> set[str]:
    """The runs that hold the newest event of an asset; of `runs`, also those with the newest result of a check."""
    entries = [record.asset_entry for record in instance.get_asset_records()]
    events = [event for entry in entries for event in (entry.last_materialization, entry.last_observation)]
    checks = {key for run_id in runs for key in _find_checks(instance, run_id)}
    results = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    return {event.run_id for event in events if event} | {result.run_id for result in results.values()}


def _find_checks(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.AssetCheckKey]:
    """The checks that a run has results of."""
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records:
        if event := record.event_log_entry.dagster_event:
            yield event.asset_check_evaluation_data.asset_check_key


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with what Dagster's own delete_run leaves: captured output, and SQLite's file of its events."""
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    events = instance.event_log_storage
    if isinstance(events, SqliteEventLogStorage):
        with contextlib.suppress(FileNotFoundError):
            Path(events.path_for_shard(run_id)).unlink()


def build(deployment: Deployment) -> Sequence[Definition]:  # noqa: ARG001
    """Nothing to load: the maintenance job does it."""
    return []
