"""Runs a script of the library in a process of its own: JSON to its stdin, JSON from its stdout."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

from warehouse.errors import LakeError


def run_apart(script: str, request: object, doing: str) -> Any:
    """The answer of a script that needs only the standard library; None if it has none.

    LakeError if it fails or is killed; `doing` is what it was doing, such as "searching FILE".
    """
    command = [sys.executable, "-I", script]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode < 0:
        raise LakeError(
            f"The process that was {doing} was killed ({signal.Signals(-done.returncode).name}), as the system does "
            "when memory runs out. Run the command again."
        )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].rstrip(".")
        raise LakeError(f"The process that was {doing} failed: {why}. Run the command again.")
    return json.loads(done.stdout) if done.stdout else None
