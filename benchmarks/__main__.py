"""Runs the benchmarks: each part saves its results in benchmarks/results/, row by row, as soon as they are measured.

    python -m benchmarks [--quick] [--minutes 25] [--only PART …] [--rounds 5] [--patients 17700] [--folder .benchmarks]

`--quick` measures the parts that are watched, and gives the rest of its minutes to growth (growth.py). `make
performance` makes docs/performance.md of the results. Other benchmarks are programs of their own: large_lake,
dicomweb, encryption, workers (Spark).
"""

import argparse
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import dicomweb, questions, refreshes, workers
from benchmarks.results import Recorder, Row
from warehouse import synthetic

#: Measures a part on a bucket and its lake, in so many rounds; rows come again whenever they have another value.
Measure = Callable[[Path, Path, int], Iterator[Row]]

#: Each part by the file of its results, in the order in which they need each other.
PARTS: dict[str, tuple[str, Measure]] = {
    "folder": ("refreshes", refreshes.measure_folder),
    "again": ("refreshes", refreshes.measure_again),
    "stand_in": ("refreshes", refreshes.measure_stand_in),
    "cold_start": ("questions", questions.measure_cold_start),
    "point_in_time": ("questions", questions.measure_point_in_time),
    "cohorts": ("questions", questions.measure_cohorts),
    "workers": ("workers", workers.measure_local),
    "driver": ("workers", workers.measure_driver),
    "answers": ("questions", questions.measure_answers),
    "s3": ("refreshes", refreshes.measure_s3),
    "downloads": ("questions", questions.measure_downloads),
    "any_bucket": ("refreshes", refreshes.measure_any_bucket),
    "million": ("refreshes", refreshes.measure_million),
}
#: The parts of --quick.
_QUICK = ("folder", "again", "stand_in", "cold_start", "point_in_time", "cohorts", "workers", "driver")


def main() -> None:
    """Measure the parts that were asked for; a part that fails does not keep the next from being measured."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--patients", type=int, default=17_700)
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--quick", action="store_true")
    words.add_argument("--minutes", type=float, default=25, help="of --quick, in all")
    words.add_argument("--only", nargs="*", metavar="PART", choices=[*PARTS, "dicomweb", "growth"])
    given = words.parse_args()
    until = time.monotonic() + 60 * given.minutes
    folder = given.folder.resolve()
    bucket = folder / "bucket"
    if not (bucket / "truth.json").exists():
        print(f"making a sample bucket of {given.patients:,} patients …", file=sys.stderr)
        synthetic.make_bucket(bucket, given.patients, stubs=True)
    wanted = given.only or (_QUICK if given.quick else PARTS)
    failed = [name for name in PARTS if name in wanted and not _measure(name, bucket, folder / "lake", given.rounds)]
    if "dicomweb" in wanted:
        dicomweb.measure_sample(folder)
    if given.quick or "growth" in wanted:
        end = until if given.quick else time.monotonic() + 3600
        _measure_growth(folder, given.rounds, end - time.monotonic())
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _measure(name: str, bucket: Path, lake: Path, rounds: int) -> bool:
    """Measure a part and save its rows as they come; false if it failed, which is printed."""
    part, measure = PARTS[name]
    print(f"{name} …", file=sys.stderr)
    start, recorder = time.monotonic(), Recorder(part)
    try:
        for row in measure(bucket, lake, rounds):
            recorder.save([row])
            print(f"  {row.name}: {row.values[-1]:.4g} {row.unit}; {_show_baseline(row)}", file=sys.stderr)
    except (Exception, SystemExit):
        traceback.print_exc()
        return False
    print(f"  {time.monotonic() - start:,.0f} s", file=sys.stderr)
    return True


def _measure_growth(folder: Path, rounds: int, seconds: float) -> None:
    """Measure growth in a process of its own: Linux counts what a parent holds in the peak of its children."""
    words = ["--folder", str(folder), "--rounds", str(rounds), "--minutes", f"{seconds / 60:.2f}"]
    subprocess.run([sys.executable, "-m", "benchmarks.growth", *words], check=True)


def _show_baseline(row: Row) -> str:
    return f"{row.baseline_values[-1]:.4g} ({row.baseline})" if row.baseline_values else ""


if __name__ == "__main__":
    main()
