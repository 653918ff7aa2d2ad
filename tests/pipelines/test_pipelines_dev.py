"""`make dev` ends with one line, whatever was running."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from warehouse import synthetic

ROOT = Path(__file__).parent.parent.parent


def test_ctrl_c_during_a_run_is_one_line_and_leaves_no_process(tmp_path: Path) -> None:
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
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,  # as `make dev` starts it: Dagster looks for the module there
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                assert "Error loading" not in line  # there would be no run to wait for
                if " - refresh - " in line:  # a step of the first refresh
                    break
        finally:
            process.send_signal(signal.SIGINT)
        after, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == "Interrupted: Dagster and its runs are ending …\n"
    assert "Traceback" not in after
    assert "Stack Trace" not in after
    assert not list_processes(f"DAGSTER_HOME={tmp_path}")


def list_processes(variable: str) -> list[str]:
    """The processes with a variable in their environment, of those that this user may look at."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_text())
    return found
