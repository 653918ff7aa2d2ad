"""What happens when a run fails: what may heal is tried again, what may not fails once, and old runs are forgotten."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from servers import S3, moto
from throttled import gate

import warehouse
from pipelines import history, retries
from pipelines.definitions import chest_definitions
from pipelines.resources import ChestWarehouse
from warehouse import location, locks, sample, settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("failures") / "bucket"
    return folder, sample.make(folder, 3, "dated", 1)


@pytest.fixture(scope="module")
def server(truth: tuple[Path, dict[str, Any]]) -> Iterator[S3]:
    with moto() as running:
        running.upload(truth[0], "chest")
        yield running


def refresh(
    instance: dg.DagsterInstance, source: object, lake: object, first_wait: float = 0.02
) -> dg.ExecuteInProcessResult:
    """Run the job in this process; steps that heal wait hardly at all."""
    chest = ChestWarehouse(source=str(source), lake=str(lake), first_wait=first_wait)
    job = chest_definitions(chest=chest).resolve_job_def("refresh")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def tries(result: dg.ExecuteInProcessResult, step: str) -> list[str]:
    """What became of each try of a step."""
    kinds = {"STEP_UP_FOR_RETRY": "again", "STEP_FAILURE": "failed", "STEP_SUCCESS": "done"}
    events = (event for event in result.all_events if event.step_key == step)
    return [kinds[event.event_type_value] for event in events if event.event_type_value in kinds]


def said(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(record.user_message for record in instance.all_logs(result.run_id))


def test_a_throttled_bucket_heals(
    instance: dg.DagsterInstance,
    server: S3,
    truth: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with gate(server.endpoint, 5) as slow:  # the library itself asks four times, so one try of the step is lost
        monkeypatch.setenv("AWS_ENDPOINT_URL", slow.endpoint)
        result = refresh(instance, "s3://chest", tmp_path / "lake")
    assert result.success
    assert tries(result, "objects") == ["again", "done"]
    assert "fewer requests (SlowDown)" in said(instance, result)
    assert "Try 1 of 4; the next in 0.0" in said(instance, result)
    (count,) = warehouse.open(str(tmp_path / "lake")).group("all").sql("select count(*) from images").fetchall()
    assert count == (truth[1]["image_json"],)


def test_a_forbidden_bucket_fails_once(
    instance: dg.DagsterInstance, server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with gate(server.endpoint, 10**6, 403) as closed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", closed.endpoint)
        result = refresh(instance, "s3://chest", tmp_path / "lake")
    assert tries(result, "objects") == ["failed"]
    line = result.failure_data_for_node("objects").user_failure_data.description  # type: ignore[union-attr]
    assert "may not list it" in line
    assert "\n" not in line
    assert closed.asked <= 2


def test_a_lake_in_use_is_waited_for_and_then_given_up(
    instance: dg.DagsterInstance, truth: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    with locks.held(location.parse(str(lake)), settings.load({})):
        result = refresh(instance, truth[0], lake)
    assert tries(result, "objects") == ["again", "again", "again", "failed"]
    line = result.failure_data_for_node("objects").user_failure_data.description  # type: ignore[union-attr]
    assert line.startswith("Another refresh is writing")
    assert line.endswith("Tried 4 times.")


def test_each_wait_is_twice_the_last_but_for_chance() -> None:
    for failed in (1, 2, 3):
        waits = [retries.wait(failed, 10) for _ in range(200)]
        most = 10 * 2 ** (failed - 1)
        assert most / 2 <= min(waits) <= max(waits) <= most
        assert statistics.pstdev(waits) > most / 20, "no two runs come back together"
    assert retries.FIRST_WAIT >= 10


def test_a_fault_of_the_program_keeps_its_traceback_and_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    @dg.op
    def stumbles(context: dg.OpExecutionContext) -> None:
        with retries.healing(context):
            raise ZeroDivisionError("nobody thought of this")

    @dg.job
    def job() -> None:
        stumbles()

    result = job.execute_in_process(instance=instance, raise_on_error=False)
    error = result.failure_data_for_node("stumbles").error  # type: ignore[union-attr]
    assert tries(result, "stumbles") == ["failed"]
    assert error is not None
    assert error.cause is not None
    assert "test_pipelines_failures.py" in "".join(error.cause.stack)


def upkeep(instance: dg.DagsterInstance, lake: Path) -> dict[str, Any]:
    """Run the upkeep job; the metadata of its two steps together."""
    chest = ChestWarehouse(lake=str(lake))
    job = chest_definitions(chest=chest).resolve_job_def("upkeep")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert result.success, said(instance, result)
    outputs = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for event in outputs for name, value in event.step_output_data.metadata.items()}


def test_upkeep_forgets_old_runs_but_the_last_word_on_each_asset(
    truth: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        runs = [refresh(instance, truth[0], tmp_path / "lake").run_id for _ in range(2)]
        failed = refresh(instance, "/nowhere/here", tmp_path / "lake").run_id
        assert upkeep(instance, tmp_path / "lake")["runs_forgotten"] == 0, "none is 90 days old"
        first_upkeep = instance.get_run_ids(limit=1)[0]

        done = history.forget(instance, 0)
        assert done == history.Forgotten(runs_forgotten=3, runs_kept=1)
        assert instance.get_run_ids() == [runs[1]]
        assert instance.get_run_by_id(runs[0]) is None
        left = {path.name for path in home.rglob("*")}
        assert not [name for name in left if any(run in name for run in (runs[0], failed, first_upkeep))]
        for asset in ("objects", "images", "clinical", "published"):
            event = instance.get_latest_materialization_event(dg.AssetKey(asset))
            assert event is not None
            assert event.run_id == runs[1]

        monkeypatch.setenv("CHEST_KEEP_DAYS", "0")
        after = upkeep(instance, tmp_path / "lake")
        assert after["snapshot"] > 0
        assert after["files"] <= after["files_before"]
        assert (after["runs_forgotten"], after["runs_kept"]) == (0, 1)


def test_a_check_that_ran_last_keeps_its_run(tmp_path: Path) -> None:
    @dg.asset
    def thing() -> None: ...

    @dg.asset_check(asset=thing)
    def holds() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    defs = dg.Definitions(assets=[thing], asset_checks=[holds])
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        made = job.execute_in_process(instance=instance, asset_selection=[thing.key])
        checked = dg.materialize([thing, holds], instance=instance, selection=dg.AssetSelection.checks(holds))
        assert history.forget(instance, 0).runs_kept == 2
        assert set(instance.get_run_ids()) == {made.run_id, checked.run_id}
