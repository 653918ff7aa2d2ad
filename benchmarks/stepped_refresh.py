"""A refresh of a folder, step by step, in a process of its own: the seconds of each, and the CPU of the driver alone.

    python -m benchmarks.stepped_refresh BUCKET LAKE --workers 1 [--engine sc://…] [--prefix …] [--unit-objects 8192]

CHEST_WORKERS=1 means none but the process of the refresh. Here `--workers 1` means one worker process, to compare it
with two; 0 means none.
"""

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from warehouse import ingest
from warehouse.ingest.units import engines, registering
from warehouse.settings import Settings


@dataclass(slots=True)
class Steps:
    """Seconds of the steps; the driver's own CPU seconds while units are loaded; what was loaded, in how many units."""

    listing: float
    loading: float
    publishing: float
    driver_cpu: float
    units: int
    loaded: int


def measure_steps(bucket: Path, lake: Path, prefix: str, workers: int, settings: Settings) -> Steps:
    """Refresh a new lake."""
    units = 0
    register = registering.register_receipts

    def count_units(*given: Any) -> Any:
        nonlocal units
        units += len(given[-1])
        return register(*given)

    with (
        patch.object(engines, "count_workers", (lambda *_: workers) if not settings.engine else engines.count_workers),
        patch.object(engines, "register_receipts", count_units),
        ingest.open_run(str(bucket), str(lake), prefixes=[prefix] if prefix else [], settings=settings) as run,
    ):
        times = [time.perf_counter()]
        ingest.list_objects(run)
        times.append(time.perf_counter())
        cpu = _own_cpu()
        loaded = ingest.load_images(run).loaded + ingest.load_clinical(run).loaded
        times.append(time.perf_counter())
        cpu = _own_cpu() - cpu
        ingest.publish(run)
        times.append(time.perf_counter())
    return Steps(*(b - a for a, b in pairwise(times)), cpu, units, loaded)


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Refresh, and print what the steps took as JSON."""
    words = argparse.ArgumentParser()
    words.add_argument("bucket", type=Path)
    words.add_argument("lake", type=Path)
    words.add_argument("--workers", type=int, default=0)
    words.add_argument("--engine", default="")
    words.add_argument("--prefix", default="")
    words.add_argument("--unit-objects", type=int, default=8_192)
    given = words.parse_args()
    settings = Settings(engine=given.engine, unit_objects=given.unit_objects)
    print(json.dumps(asdict(measure_steps(given.bucket, given.lake, given.prefix, given.workers, settings))))


if __name__ == "__main__":
    main()
