"""The daemon as it is deployed: it notices a bucket, survives a killed run, and answers cohorts, all by itself."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import dagster as dg
import pytest

import warehouse
from warehouse import sample

ROOT = Path(__file__).parent.parent
COHORT = dg.AssetKey(["cohorts", "prior_data"])
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


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """`dagster-daemon run` with the repository's own dagster.yaml, in a DAGSTER_HOME of its own."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "dagster.yaml", home)
    truth = sample.make(home / "bucket", 20, "dated", 1)
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
    before = Path.cwd()
    os.chdir(home)  # the folders of dagster.yaml are relative
    try:
        with (
            (home / "daemon.log").open("wb") as log,
            subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log) as process,
            dg.DagsterInstance.from_config(str(home)) as instance,
        ):
            try:
                yield Daemon(truth, home / "lake", instance, home / "daemon.log", process)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)
    finally:
        os.chdir(before)


def process_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that executes a run, as Dagster's log names it."""
    said = "\n".join(
        record.get_dagster_event().message or "" for record in instance.all_logs(run_id) if record.is_dagster_event
    )
    found = re.search(r"in process \(pid: (\d+)\)", said)
    return int(found[1]) if found else None


def test_news_starts_a_refresh_that_survives_a_kill_and_cohorts_are_answered(daemon: Daemon) -> None:
    instance = daemon.instance
    first = daemon.until("refresh", lambda: next(iter(instance.get_runs(dg.RunsFilter(job_name="refresh"))), None))
    assert first.tags["dagster/sensor_name"] == "news"
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
