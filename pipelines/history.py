"""How long Dagster's own history is kept: it has no retention of runs, so the upkeep job forgets old ones."""

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage

from pipelines.deployment import Definition, Deployment

_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many runs were forgotten, and how many old ones stay because they are the last word on an asset."""

    runs_forgotten: int
    runs_kept: int


def forget(instance: dg.DagsterInstance, keep_days: int, checks: Collection[dg.AssetCheckKey] = ()) -> Forgotten:
    """Delete runs that ended more than `keep_days` ago, with their events and the output of their steps.

    A run stays while the newest materialization of any asset, or the newest result of any of `checks`, is its own:
    without it the catalogue would have gaps, and automation would answer cohorts again for nothing.
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    old = set(instance.get_run_ids(dg.RunsFilter(statuses=_OVER, updated_before=before)))
    needed = _last_words(instance, checks)
    for run_id in old - needed:
        _delete(instance, run_id)
    return Forgotten(len(old - needed), len(old & needed))


def _last_words(instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey]) -> set[str]:
    """The runs that hold the newest event of an asset, or the newest result of a check."""
    entries = [record.asset_entry for record in instance.get_asset_records()]
    events = [event for entry in entries for event in (entry.last_materialization, entry.last_observation)]
    results = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    return {event.run_id for event in events if event} | {result.run_id for result in results.values()}


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with what Dagster's own delete_run leaves: captured output, and SQLite's file of its events."""
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    events = instance.event_log_storage
    if isinstance(events, SqliteEventLogStorage):
        with contextlib.suppress(FileNotFoundError):
            Path(events.path_for_shard(run_id)).unlink()


def build(deployment: Deployment) -> Sequence[Definition]:  # noqa: ARG001
    """Nothing to load: the upkeep job does it."""
    return []
