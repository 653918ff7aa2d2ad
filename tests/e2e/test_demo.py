"""`make demo` runs from its first step to its last."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts/demo.sh"


def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", SCRIPT],
        env={**os.environ, "PATH": path, "DEMO": str(tmp_path / "demo")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "chest --help" in done.stdout.splitlines()[-1]
