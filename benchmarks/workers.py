"""Two workers beside one: worker processes of this machine, and executors of a Spark cluster; the driver's own work.

    python -m benchmarks.workers [--rounds 5] [--folder .benchmarks]

The program measures Spark beside local workers, and needs PySpark and Java: a standalone cluster is started on
loopback, as in the tests. `python -m benchmarks --only workers driver` measures local workers alone.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import run_process
from benchmarks.results import Recorder, Row

#: Half of the sample's patients; a sixteenth, for the driver's work, which is measured with small units.
_HALF, _FEW = "training/Covid1", "training/Covid11"
#: Two are to be 1.6 times as quick as one, and Spark 0.8 times as quick as local workers (ratio <= 1.25).
_TWO_OF_ONE = "ratio <= 0.625"
#: Objects of a unit, from which numbers of units follow.
_UNIT_OBJECTS = (4_096, 1_024, 512, 256)


def measure_local(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """Two local workers, and the threads of one process, beside a single worker process."""
    loading = Row("loading by two worker processes", "s", [], "one worker process", [], _TWO_OF_ONE)
    whole = Row("refresh by two worker processes", "s", [], "one worker process", [], _TWO_OF_ONE)
    threads = Row("refresh by the threads of one process", "s", [], "one worker process", [])
    for _ in range(rounds):
        one, two, none = (_refresh(bucket, lake, workers=number) for number in (1, 2, 0))
        for row, steps, name in ((loading, two, "loading"), (whole, two, ""), (threads, none, "")):
            row.values = [*row.values, steps[name] if name else _sum(steps)]
            row.baseline_values = [*row.baseline_values, one[name] if name else _sum(one)]
            row.note = f"{one['loaded']:,.0f} headers and clinical files"
            yield row


def measure_driver(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """The driver's own CPU a unit by local workers."""
    yield from _measure_slope(bucket, lake, rounds, "local", workers=2)


def measure_spark(bucket: Path, lake: Path, rounds: int) -> Iterator[Row]:
    """Two executors beside one, each of a core, and beside two local workers; the driver's CPU a unit by Connect."""
    loading = Row("loading by two Spark workers", "s", [], "one Spark worker", [], _TWO_OF_ONE)
    beside = Row("loading by two Spark workers, beside local", "s", [], "two worker processes", [], "ratio <= 1.25")
    for _ in range(rounds):
        spark = {}
        for cores in (1, 2):
            with _serve_spark(cores) as address:
                spark[cores] = _refresh(bucket, lake, engine=address)
        local = _refresh(bucket, lake, workers=2)
        for row, other in ((loading, spark[1]), (beside, local)):
            row.values = [*row.values, spark[2]["loading"]]
            row.baseline_values = [*row.baseline_values, other["loading"]]
            row.note = f"{local['loaded']:,.0f} headers and clinical files"
            yield row
    with _serve_spark(2) as address:
        yield from _measure_slope(bucket, lake, rounds, "Spark Connect", engine=address)


def _measure_slope(bucket: Path, lake: Path, rounds: int, name: str, **how: Any) -> Iterator[Row]:
    """The slope of the driver's CPU over the number of units of the same objects, by least squares in each round."""
    row = Row("driver's own CPU a unit", "CPU s", [], at={"engine": name})
    for _ in range(min(rounds, 3)):
        runs = [_refresh(bucket, lake, prefix=_FEW, unit_objects=size, **how) for size in _UNIT_OBJECTS]
        units, cpu = [run["units"] for run in runs], [run["driver_cpu"] for run in runs]
        if len(set(units)) < 2:
            raise SystemExit(f"{bucket} has too few patients to divide them into different numbers of units.")
        row.values = [*row.values, statistics.linear_regression(units, cpu).slope]
        row.note = f"{min(units):.0f} to {max(units):.0f} units of the same {runs[0]['loaded']:,.0f} objects"
        yield row


def _sum(steps: dict[str, float]) -> float:
    return steps["listing"] + steps["loading"] + steps["publishing"]


def _refresh(
    bucket: Path, lake: Path, *, prefix: str = _HALF, workers: int = 0, engine: str = "", unit_objects: int = 8_192
) -> dict[str, float]:
    """A first refresh of a part of the bucket: the steps of stepped_refresh.py."""
    target = lake.with_name("lake-workers")
    shutil.rmtree(target, ignore_errors=True)
    words = ["--prefix", prefix, "--workers", str(workers), "--unit-objects", str(unit_objects)]
    words += ["--engine", engine] if engine else []
    run = run_process(sys.executable, "-m", "benchmarks.stepped_refresh", str(bucket), str(target), *words)
    shutil.rmtree(target)
    found: dict[str, float] = json.loads(run.output.splitlines()[-1])
    return found


@contextlib.contextmanager
def _serve_spark(cores: int) -> Iterator[str]:
    """A cluster with so many executors of one core; yields the address of its Connect server."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))  # the cluster is that of the tests
    import spark

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        spark.serve_spark(Path(folder) / "spark", dict(os.environ), cores=cores) as cluster,
    ):
        yield cluster.connect


def main() -> None:
    """Measure Spark, and save."""
    words = argparse.ArgumentParser()
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    given = words.parse_args()
    folder, recorder = given.folder.resolve(), Recorder("workers")
    for row in measure_spark(folder / "bucket", folder / "lake", given.rounds):
        recorder.save([row])
        print(f"{row.name}: {row.values} {row.unit}; {row.baseline_values} ({row.baseline})", file=sys.stderr)


if __name__ == "__main__":
    main()
