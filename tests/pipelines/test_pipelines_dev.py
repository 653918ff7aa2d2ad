"""`make dev` ends with one line, whatever was running."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from warehouse import synthetic

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def started(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """`make dev`, as it is started there, within a run; its DAGSTER_HOME is the folder of the test."""
    synthetic.make_bucket(tmp_path / "bucket", 10, seed=1)
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path),
        "CHEST_SOURCE": str(tmp_path / "bucket"),
        "CHEST_LAKE": str(tmp_path / "lake"),
        "CHEST_MANIFESTS": str(tmp_path / "manifests"),
    }
    words = ("-m", "pipelines.dev", "-m", "pipelines.definitions", "-p", str(port), "--log-level", "warning")
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,  # Dagster looks for the module there
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            assert "Error loading" not in line  # there would be no run to wait for
            if " - refresh - " in line:  # a step of the first refresh
                break
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.mark.slow
def test_ctrl_c_during_a_run_is_one_line_and_leaves_no_process(
    started: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    started.send_signal(signal.SIGINT)
    after, errors = started.communicate(timeout=120)
    assert started.returncode == 130
    assert errors == "Interrupted: Dagster and its runs are ending …\n"
    assert "Traceback" not in after
    assert "Stack Trace" not in after
    assert not list_processes(f"DAGSTER_HOME={tmp_path}")


@pytest.mark.slow
def test_a_terminal_that_is_closed_leaves_no_process(started: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert started.stdout
    assert started.stderr
    started.stdout.close()
    started.stderr.close()
    started.send_signal(signal.SIGHUP)
    assert started.wait(120) == 129
    assert not list_processes(f"DAGSTER_HOME={tmp_path}")


def list_processes(variable: str) -> list[str]:
    """The processes with a variable in their environment, of those that this user may look at."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_text())
    return found
