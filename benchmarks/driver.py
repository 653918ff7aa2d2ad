"""The driver of a refresh alone: it lists, compares and plans a synthetic bucket; what workers would do is left out.

    python -m benchmarks.driver [--sizes 1000000 10000000 100000000] [--folder .benchmarks]

Done as in any first refresh: the listing (made on the fly, synthetic_store.py), its comparison with the empty lake,
`raw.objects` written, units planned and read; then the listing and its comparison with a lake that knows it all, and
once more with `full`, as if all had changed, so that `raw.objects` is written anew. Made up: the receipts of the units,
which say that no object was loaded. So nothing is fetched, extracted or committed, and core tables stay empty, with
which plans are joined. What a commit costs is measured apart (workers.py).
"""

import argparse
import contextlib
import json
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest.mock import patch

from benchmarks.measure import run_process
from benchmarks.results import Recorder, Row
from benchmarks.synthetic_store import Store, SyntheticBucket
from warehouse import ingest
from warehouse.ingest.units import engines
from warehouse.ingest.units.unit import Receipt, UnitTask
from warehouse.settings import Settings


class _MadeUpWorkers:
    """Workers that do nothing, and say so."""

    units = 0

    def run_units(
        self,
        step: str,  # noqa: ARG002
        units: Iterable[UnitTask],
        number: int,  # noqa: ARG002
    ) -> Iterator[list[tuple[UnitTask, Receipt]]]:
        """A receipt for each unit, without rows."""
        for unit in units:
            self.units += 1
            yield [(unit, Receipt(unit.id, missed=frozenset(unit.objects.column("key").to_pylist())))]

    def close(self) -> None:
        """Nothing is open."""


def drive(n_objects: int, lake: Path) -> dict[str, float]:
    """List and plan in this process; seconds of both, the number of units, peak memory in MiB."""
    bucket, workers = SyntheticBucket(Store(n_objects)), _MadeUpWorkers()
    with (
        patch("warehouse.ingest.open_listed", lambda source, settings: bucket),  # noqa: ARG005
        patch.object(engines, "count_workers", lambda *_: 2),
        ingest.open_run(bucket.source, str(lake), settings=Settings()) as run,
    ):
        run.kept.workers = workers
        start = time.perf_counter()
        ingest.list_objects(run)
        listed = time.perf_counter()
        ingest.load_images(run)
        ingest.load_clinical(run)
        planned = time.perf_counter()
        found = ingest.list_objects(run)
        again = time.perf_counter()
        all_found = ingest.list_objects(run, full=True)
        rewritten = time.perf_counter()
    assert (found.listed, found.added, found.changed, found.removed) == (n_objects, 0, 0, 0)
    assert (all_found.listed, all_found.changed) == (n_objects, n_objects)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = {
        "listing": listed - start,
        "planning": planned - listed,
        "again": again - planned,
        "full": rewritten - again,
    }
    return {**times, "units": workers.units, "peak": peak}


def measure_driver(folder: Path, sizes: Iterable[int]) -> Iterator[Row]:
    """The driver's work for buckets of some sizes, once each."""
    for size in sizes:
        lake = folder / "lake-driver"
        shutil.rmtree(lake, ignore_errors=True)
        run = run_process(sys.executable, "-m", "benchmarks.driver", "--drive", str(size), "--folder", str(lake))
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(lake)
        found = json.loads(run.output.splitlines()[-1])
        at = {"objects": size}
        yield Row("listing and comparing", "s", [found["listing"]], at=at)
        yield Row("planning", "s", [found["planning"]], at=at)
        yield Row("listing and comparing again", "s", [found["again"]], at=at)
        yield Row("listing and writing all again", "s", [found["full"]], at=at)
        yield Row("CPU seconds", "s", [run.cpu_seconds], at=at)
        yield Row("units", "", [found["units"]], at=at)
        yield Row("peak memory", "MiB", [found["peak"]], at=at)


def main() -> None:
    """Measure each size in a process of its own, and save."""
    words = argparse.ArgumentParser()
    words.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    words.add_argument("--drive", type=int, help="this process: one size, into a lake in the folder")
    given = words.parse_args()
    if given.drive:
        print(json.dumps(drive(given.drive, given.folder)))
        return
    recorder = Recorder("driver")
    for row in measure_driver(given.folder.resolve(), sorted(given.sizes)):
        recorder.save([row])
        print(f"{row.at['objects']:,} objects: {row.name} {row.values[0]:,.1f} {row.unit}", file=sys.stderr)


if __name__ == "__main__":
    main()
