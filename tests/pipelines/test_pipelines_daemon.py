"""The daemon as it is deployed: it notices a bucket, survives a killed run, and answers cohorts, all by itself."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import PoolGranularity
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from servers import HOST, serve_postgres

import warehouse
from pipelines import run_retention
from pipelines.definitions import chest_definitions
from pipelines.deployment import POOL
from warehouse import synthetic

ROOT = Path(__file__).parent.parent.parent
COHORT = dg.AssetKey(["cohorts", "ventilation"])
T = TypeVar("T")


class Daemon(NamedTuple):
    """A running daemon: its bucket's truth, its lake, the instance it shares with the test, and its log."""

    truth: dict[str, Any]
    lake: Path
    instance: dg.DagsterInstance
    log: Path
    process: "subprocess.Popen[bytes]"

    def until(self, what: str, found: Callable[[], T | None], seconds: float = 120) -> T:
        """Wait for something; the daemon's log when it does not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if answer := found():
                return answer
            time.sleep(0.1)
        pytest.fail(f"no {what} after {seconds} s:\n{self.log.read_text()[-6000:]}")


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """`dagster-daemon run` with the repository's own dagster.yaml, in a DAGSTER_HOME of its own; it ends with its test,
    for it would go on with whatever else it finds to do."""
    home = tmp_path_factory.mktemp("home")
    truth = synthetic.make_bucket(home / "bucket", 20, "dated", 1)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "CHEST_SOURCE": str(home / "bucket"),
        "CHEST_LAKE": str(home / "lake"),
        "CHEST_MANIFESTS": str(home / "manifests"),
        "CHEST_ALERT": str(home / "alerts.log"),
        "CHEST_UNIT_OBJECTS": "4",
    }
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "pipelines.definitions"]
    with (
        instance_of(home, (ROOT / "dagster.yaml").read_text()) as instance,
        (home / "daemon.log").open("wb") as log,
        subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield Daemon(truth, home / "lake", instance, home / "daemon.log", process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@contextlib.contextmanager
def instance_of(home: Path, text: str) -> Iterator[dg.DagsterInstance]:
    """The instance that a dagster.yaml describes, in a folder of its own."""
    (home / "dagster.yaml").write_text(text)
    before = Path.cwd()
    os.chdir(home)  # its folders are relative
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
    finally:
        os.chdir(before)


def process_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that executes a run, as Dagster's log names it."""
    log = "\n".join(
        record.get_dagster_event().message or "" for record in instance.all_logs(run_id) if record.is_dagster_event
    )
    found = re.search(r"in process \(pid: (\d+)\)", log)
    return int(found[1]) if found else None


def test_the_first_refresh_starts_and_survives_a_kill_and_cohorts_are_answered(daemon: Daemon) -> None:
    instance = daemon.instance
    first = daemon.until("refresh", lambda: next(iter(instance.get_runs(dg.RunsFilter(job_name="refresh"))), None))
    assert first.tags["dagster/sensor_name"] == "first_refresh"
    daemon.until("image in the lake", lambda: next(daemon.lake.rglob("images/**/*.parquet"), None))
    pid = process_of(instance, first.run_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def finished(status: dg.DagsterRunStatus) -> dg.DagsterRun | None:
        return next(iter(instance.get_runs(dg.RunsFilter(job_name="refresh", statuses=[status]))), None)

    died = daemon.until("sign that it died", lambda: finished(dg.DagsterRunStatus.FAILURE))
    assert died.run_id == first.run_id
    second = daemon.until("second refresh", lambda: finished(dg.DagsterRunStatus.SUCCESS))
    assert second.parent_run_id == first.run_id
    reader = warehouse.open(str(daemon.lake)).group("all")
    assert reader.sql("select count(*) from images").fetchall() == [(daemon.truth["image_json"],)]
    assert reader.sql("select count(*) from clinical_history").fetchall() == [(daemon.truth["clinical_json"],)]

    alerts = daemon.until("alert", lambda: (p := daemon.lake.parent / "alerts.log").exists() and p.read_text())
    assert f"(run {first.run_id})" in alerts
    daemon.until("answer of a cohort", lambda: instance.get_latest_materialization_event(COHORT))


def in_postgres(text: str) -> str:
    """dagster.yaml as somebody who moves to PostgreSQL edits it: SQLite's lines out, the commented ones in."""
    start, end = text.index("storage:\n  sqlite:"), text.index("# PostgreSQL instead")
    block = re.compile(r"^#(?=storage:|  )", re.MULTILINE)
    return block.sub("", text[:start] + text[end:])


@pytest.mark.slow
def test_dagsters_history_in_postgresql_by_the_commented_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dg.asset
    def thing() -> None: ...

    with serve_postgres() as server:
        server.run("create database dagster")
        words = {"HOST": HOST, "PORT": server.port, "USER": server.user, "PASSWORD": server.password, "DB": "dagster"}
        for name, value in words.items():
            monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", str(value))
        with instance_of(tmp_path, in_postgres((ROOT / "dagster.yaml").read_text())) as instance:
            runs = [dg.materialize([thing], instance=instance).run_id for _ in range(2)]
            assert run_retention.forget_runs(instance, 0) == run_retention.Forgotten(runs_forgotten=1, runs_kept=1)
            assert instance.get_run_ids() == [runs[1]]
        assert server.run("select run_id from runs", "dagster") == runs[1]
        assert server.run("select distinct run_id from event_logs where run_id <> ''", "dagster") == runs[1]
    assert not list(tmp_path.rglob("*.db"))


def test_what_dagster_yaml_promises(tmp_path: Path) -> None:
    with instance_of(tmp_path, (ROOT / "dagster.yaml").read_text()) as instance:
        pools = instance.get_concurrency_config().pool_config
        assert (pools.pool_granularity, pools.default_pool_limit) == (PoolGranularity.RUN, 1)
        assert instance.run_monitoring_enabled
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        for kind in (InstigatorType.SCHEDULE, InstigatorType.SENSOR, InstigatorType.AUTO_MATERIALIZE):
            assert all(days > 0 for days in instance.get_tick_retention_settings(kind).values()), kind


def test_a_run_whose_machine_went_down_is_detected(tmp_path: Path) -> None:
    job = chest_definitions({}).resolve_job_def("refresh")
    with instance_of(tmp_path, (ROOT / "dagster.yaml").read_text()) as instance:
        server = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})}
        lost, by_hand = instance.create_run_for_job(job, tags=server), instance.create_run_for_job(job)
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.run_launcher.check_run_worker_health(lost).status == WorkerStatus.FAILED
        assert instance.run_launcher.check_run_worker_health(by_hand).status == WorkerStatus.RUNNING


def test_the_pool_keeps_all_that_write_the_lake_apart(tmp_path: Path) -> None:
    """What is the last line where schedule, sensor and people start refreshes at the same moment."""
    defs = chest_definitions({})
    with instance_of(tmp_path, (ROOT / "dagster.yaml").read_text()) as instance:
        pools = {
            name: instance.create_run_for_job(defs.resolve_job_def(name)).run_op_concurrency
            for name in ("refresh", "maintenance")
        }
    for name, found in pools.items():
        assert found is not None, name
        assert found.all_pools == {POOL}, name
