"""Runs a command and measures it as a whole: seconds, peak memory, output."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Container
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds by the clock and of all cores, peak memory in MiB (of the largest single process), exit code, output."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    exit_code: int
    output: str


def run_process(*words: str, fine: Container[int] = (0,), **environment: str) -> Measured:
    """Run a command to its end; a failure, that is an exit code which is not `fine`, is ours."""
    start = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    if code not in fine:
        raise SystemExit(f"{' '.join(words)} failed with exit code {code}.")
    scale = 1024 if sys.platform != "darwin" else 1024 * 1024
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale, code, output)


def run_chest(*words: str, fine: Container[int] = (0,), **environment: str) -> Measured:
    """Run the chest command."""
    return run_process(sys.executable, "-c", "from warehouse.cli import main; main()", *words, fine=fine, **environment)


def run_baseline(name: str, *words: str, **environment: str) -> Measured:
    """Run one of the baselines."""
    return run_process(sys.executable, "-m", "benchmarks.baselines", name, *words, **environment)


def measure_pairs(
    first: Callable[[], object], second: Callable[[], object], rounds: int, warm_up: int = 1
) -> tuple[list[float], list[float]]:
    """Seconds of two pieces of work, done in turn so that a drifting machine is fair to both.

    The first runs of both, by which files get into memory, are not counted.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + warm_up):
        for work, seconds in zip((first, second), times, strict=True):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return times[0][warm_up:], times[1][warm_up:]
