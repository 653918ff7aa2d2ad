"""How a refresh grows with its bucket: first, with nothing new, with 0.1 % changed; of 10 thousand objects and more.

    python -m benchmarks.growth [--sizes 10000 100000 1000000 10000000] [--rounds 5] [--minutes 60] [--folder …]

The buckets are made on the fly (synthetic_store.py), behind the interface of buckets in the process of the refresh, and
behind HTTP by a stand-in for S3, which takes its CPU from the same cores. The largest size is refreshed once, in
process alone. Results are saved after each refresh, and what would not fit into the minutes is left out.
"""

import argparse
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measured, run_chest, run_process
from benchmarks.results import Recorder, Row
from benchmarks.synthetic_s3 import Served, serve_store

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
STORES = {"process": "behind the bucket interface", "http": "behind HTTP"}
#: By HTTP, the stand-in takes more of the machine than the refresh: larger buckets are measured in process.
_MOST_BY_HTTP = 1_000_000
#: About the seconds of a round that no object takes: three commands start.
_START = 5.0
#: The refreshes of a round, and the generation of the bucket that each finds.
REFRESHES = {"first": 0, "nothing new": 0, "0.1 % changed": 1}
#: What is measured of each: names and units.
MEASURES = {
    "seconds": "s",
    "CPU seconds": "s",
    "peak memory": "MiB",
    "LIST requests": "",
    "GET requests": "",
    "lake": "MB",
}


def main() -> None:
    """Measure as much as fits into the minutes."""
    words = argparse.ArgumentParser()
    words.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--minutes", type=float, default=60)
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    given = words.parse_args()
    measure_growth(given.folder.resolve() / "growth", given.sizes, given.rounds, time.monotonic() + 60 * given.minutes)


def measure_growth(folder: Path, sizes: list[int] | tuple[int, ...], rounds: int, until: float) -> None:
    """Measure every size once, then again from small to large, until the time is over; the largest one only once."""
    recorder = Recorder("growth")
    found: dict[tuple[str, int], list[float]] = {}
    rows: dict[tuple[str, str, int, str], Row] = {}
    for number in range(rounds):
        for store, size in _list_work(sizes, number):
            expected = _expect_seconds(found, store, size)
            if time.monotonic() + expected > until:
                print(f"left out: {size:,} objects, {store}, round {number + 1} ({expected:,.0f} s)", file=sys.stderr)
                continue
            start = time.monotonic()
            for refresh, measures in measure_round(folder, store, size):
                print(f"{size:,} objects, {store}, {refresh}: {measures}", file=sys.stderr)
                recorder.save(_add(rows, store, size, refresh, measures))
            found.setdefault((store, size), []).append(time.monotonic() - start)


def _list_work(sizes: list[int] | tuple[int, ...], number: int) -> Iterator[tuple[str, int]]:
    """What a round of all sizes has."""
    for size in sorted(sizes):
        if number and size == max(sizes) > _MOST_BY_HTTP:
            continue
        yield from ((store, size) for store in STORES if store == "process" or size <= _MOST_BY_HTTP)


def _expect_seconds(found: dict[tuple[str, int], list[float]], store: str, size: int) -> float:
    """How long a round will take: as the last one, or in proportion to that of the next smaller size."""
    if (store, size) in found:
        return found[store, size][-1]
    smaller = [other for name, other in found if name == store and other < size]
    if not smaller:
        return 0.0
    last = found[store, max(smaller)][-1]
    return _START + max(last - _START, last / 5) * size / max(smaller)


def _add(
    rows: dict[tuple[str, str, int, str], Row], store: str, size: int, refresh: str, measures: dict[str, float]
) -> list[Row]:
    """The rows of a refresh with one more value."""
    changed = []
    for name, value in measures.items():
        at = {"store": store, "objects": size, "refresh": refresh}
        row = rows.setdefault((name, store, size, refresh), Row(name, MEASURES[name], [], at=at))
        row.values = [*row.values, value]
        changed.append(row)
    return changed


def measure_round(folder: Path, store: str, size: int) -> Iterator[tuple[str, dict[str, float]]]:
    """The refreshes of a new lake, each with what it took."""
    lake = folder / f"lake-{store}-{size}"
    shutil.rmtree(lake, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with serve_store(size) if store == "http" else contextlib.nullcontext() as served:
        for refresh, generation in REFRESHES.items():
            run = _refresh(lake, size, generation, served)
            _require_counts(run, size, refresh)
            measures = {"seconds": run.seconds, "CPU seconds": run.cpu_seconds, "peak memory": run.peak_mib}
            if served:
                counts = served.take_counts()
                measures |= {f"{kind} requests": float(counts.get(kind, 0)) for kind in ("LIST", "GET")}
            if refresh == "first":
                measures["lake"] = sum(path.stat().st_size for path in lake.rglob("*") if path.is_file()) / 1e6
            yield refresh, measures
    shutil.rmtree(lake)


def _refresh(lake: Path, size: int, generation: int, served: Served | None) -> Measured:
    if served:
        served.set_generation(generation)
        words = ("refresh", "s3://chest", "--lake", str(lake), "--quiet", "--format", "json")
        return run_chest(*words, **served.environment)
    module = "benchmarks.synthetic_refresh"
    return run_process(sys.executable, "-m", module, str(size), str(generation), str(lake), CHEST_WORKERS="1")


def _require_counts(run: Measured, size: int, refresh: str) -> None:
    """End if a refresh has not found what it should have: its figures would be of something else."""
    objects = json.loads(run.output)["objects"]
    expected = {"first": (size, 0), "nothing new": (0, 0)}.get(refresh)
    if objects["listed"] != size or (expected and (objects["added"], objects["changed"]) != expected):
        raise SystemExit(f"A refresh of {size:,} objects ({refresh}) has found {objects}.")


if __name__ == "__main__":
    main()
