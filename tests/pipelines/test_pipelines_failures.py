"""What happens when a run fails: what may heal is tried again, what may not fails once, and old runs are forgotten."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from faulty import answer_with, serve_faulty
from servers import S3, serve_moto

import warehouse
from pipelines import retries, run_retention
from pipelines.definitions import chest_definitions
from pipelines.deployment import POOL, STEPS
from pipelines.resources import ChestWarehouse
from warehouse import settings, synthetic
from warehouse.lake import location, locks


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("failures") / "bucket"
    return folder, synthetic.make_bucket(folder, 3, "dated", 1)


@pytest.fixture(scope="module")
def server(truth: tuple[Path, dict[str, Any]]) -> Iterator[S3]:
    with serve_moto() as running:
        running.upload(truth[0], "chest")
        yield running


def refresh(
    instance: dg.DagsterInstance, source: object, lake: object, first_wait: float = 0.02
) -> dg.ExecuteInProcessResult:
    """Run the steps that read the bucket in this process; those that heal wait hardly at all."""
    chest = ChestWarehouse(source=str(source), lake=str(lake), first_wait=first_wait)
    job = chest_definitions({}, chest=chest).resolve_job_def("refresh")
    steps = job.get_subset(asset_selection={dg.AssetKey(step) for step in STEPS}, asset_check_selection=set())
    return steps.execute_in_process(instance=instance, raise_on_error=False)


def tries(result: dg.ExecuteInProcessResult, step: str) -> list[str]:
    """What became of each try of a step."""
    kinds = {"STEP_UP_FOR_RETRY": "again", "STEP_FAILURE": "failed", "STEP_SUCCESS": "done"}
    events = (event for event in result.all_events if event.step_key == step)
    return [kinds[event.event_type_value] for event in events if event.event_type_value in kinds]


def read_log(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(record.user_message for record in instance.all_logs(result.run_id))


@pytest.mark.slow
def test_a_throttled_bucket_heals(
    instance: dg.DagsterInstance,
    server: S3,
    truth: tuple[Path, dict[str, Any]],
    new_lake: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**server.environment, "CHEST_SUPPRESS": "0"}.items():
        monkeypatch.setenv(name, value)
    with serve_faulty(server) as slow:
        slow.fail(
            answer_with(503, "SlowDown"), times=5
        )  # the library itself asks four times: one try of the step is lost
        monkeypatch.setenv("AWS_ENDPOINT_URL", slow.s3.endpoint)
        result = refresh(instance, "s3://chest", new_lake)
    assert result.success
    assert tries(result, "objects") == ["again", "done"]
    assert "fewer requests (SlowDown)" in read_log(instance, result)
    assert "Try 1 of 4; the next in 0.0" in read_log(instance, result)
    loaded = {
        str(event.asset_key.path[-1]): event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    names = {"objects": "objects", "images": "image_json", "clinical": "clinical_json"}
    assert loaded == {step: truth[1][name] for step, name in names.items()}


def test_a_forbidden_bucket_fails_once(
    instance: dg.DagsterInstance, server: S3, new_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with serve_faulty(server) as closed:
        closed.fail(answer_with(403, "AccessDenied"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", closed.s3.endpoint)
        result = refresh(instance, "s3://chest", new_lake)
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
    with locks.hold_lock(location.parse_address(str(lake)), settings.load_settings({})):
        result = refresh(instance, truth[0], lake)
    assert tries(result, "objects") == ["again", "again", "again", "failed"]
    line = result.failure_data_for_node("objects").user_failure_data.description  # type: ignore[union-attr]
    assert line.startswith("Another refresh is writing")
    assert line.endswith("Tried 4 times.")


def test_each_wait_is_twice_the_last_but_for_chance() -> None:
    for failed in (1, 2, 3):
        waits = [retries.compute_wait(failed, 10) for _ in range(200)]
        most = 10 * 2 ** (failed - 1)
        assert most / 2 <= min(waits) <= max(waits) <= most
        assert statistics.pstdev(waits) > most / 20, "no two runs come back together"
    assert retries.FIRST_WAIT >= 10


def test_a_fault_of_the_program_keeps_its_traceback_and_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    @dg.op
    def stumbles(context: dg.OpExecutionContext) -> None:
        with retries.retry_when_healing(context):
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


@dg.asset
def thing() -> None:
    """An asset."""


@dg.asset
def other() -> None:
    """Another."""


@dg.asset_check(asset=thing)
def holds() -> dg.AssetCheckResult:
    """A check."""
    return dg.AssetCheckResult(passed=True)


@dg.op
def talk() -> None:
    """Print something that is captured."""
    print("captured")
    raise ValueError


@dg.job
def talking() -> None:
    """A job without assets."""
    talk()


@pytest.mark.slow
def test_old_runs_are_deleted_but_not_the_last_record_of_an_asset_or_check(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def run(*assets: Any, **options: Any) -> str:
            return dg.materialize([*assets], instance=instance, **options).run_id

        both, twice = run(thing, other), [run(thing), run(thing)]
        checked = [run(thing, holds, selection=dg.AssetSelection.checks(holds)) for _ in range(2)]
        failed = talking.execute_in_process(instance=instance, raise_on_error=False).run_id
        needed = {both, twice[1], checked[1]}
        everything = {both, *twice, *checked, failed}

        assert run_retention.forget_runs(instance, 1) == run_retention.Forgotten(0, 0), "none is a day old"
        assert set(instance.get_run_ids()) == everything
        assert run_retention.forget_runs(instance, 0) == run_retention.Forgotten(runs_forgotten=3, runs_kept=3)
        assert set(instance.get_run_ids()) == needed
        assert run_retention.forget_runs(instance, 0) == run_retention.Forgotten(runs_forgotten=0, runs_kept=3)

        names = [path.name for path in tmp_path.rglob("*")]
        assert not [name for name in names for run_id in everything - needed if run_id in name]
        assert [name for name in names for run_id in needed if run_id in name]
        for key, last in ((thing.key, twice[1]), (other.key, both)):
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            assert event.run_id == last


def test_a_run_that_is_not_over_is_never_forgotten(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.create_run_for_job(talking)
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", run.job_name), run.run_id)
        assert run_retention.forget_runs(instance, 0) == run_retention.Forgotten(0, 0)


@pytest.mark.slow
def test_the_maintenance_job_keeps_lake_and_history_and_reports_its_work(
    instance: dg.DagsterInstance,
    truth: tuple[Path, dict[str, Any]],
    new_lake: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = str(new_lake)
    for _ in range(3):
        warehouse.refresh(str(truth[0]), lake)
        (truth[0] / "training" / f"Covid{_}0.json").write_text("{}")
    monkeypatch.setenv("CHEST_KEEP_DAYS", "0")
    old = talking.execute_in_process(instance=instance, raise_on_error=False).run_id
    job = chest_definitions({}, chest=ChestWarehouse(lake=lake)).resolve_job_def("maintenance")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert result.success, read_log(instance, result)
    outputs = [event.step_output_data for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    reported = {name: value.value for output in outputs for name, value in output.metadata.items()}
    assert reported["snapshots_expired"] > 0
    assert reported["files_before"] > 0
    assert reported["snapshot"] == warehouse.open(lake).snapshot.number
    assert reported["runs_forgotten"] == 1
    assert instance.get_run_by_id(old) is None


def test_maintenance_takes_its_turn_at_the_lake_and_without_one_fails_once(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    job = chest_definitions({}, chest=ChestWarehouse(lake=str(tmp_path), first_wait=0.02)).resolve_job_def(
        "maintenance"
    )
    assert job.graph.node_named("lake").definition.pool == POOL  # type: ignore[union-attr]
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert tries(result, "lake") == ["failed"]
    assert tries(result, "history") == []
