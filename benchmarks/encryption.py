"""What an encrypted lake costs beside one that is not: the same work in turn on both, in CPU seconds.

    python -m benchmarks.encryption [--patients 2000] [--rounds 8] [--folder .benchmarks]

CPU seconds of the whole process, since a machine is shared.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Measured, run_chest
from benchmarks.results import Recorder, Row
from warehouse import synthetic

_SIDES = {"plain": (), "encrypted": ("--encrypted",)}
_HEADERS = "select count(*), sum(length(header::varchar)) from headers"
_COHORTS = ("covid_risk", "longitudinal_ct", "teaching_set", "ventilation")


def main() -> None:
    """Measure and save."""
    words = argparse.ArgumentParser()
    words.add_argument("--patients", type=int, default=2_000)
    words.add_argument("--rounds", type=int, default=8)
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    given = words.parse_args()
    folder = given.folder.resolve() / f"encryption-{given.patients}"
    bucket = folder / "bucket"
    if not (bucket / "truth.json").exists():
        synthetic.make_bucket(bucket, given.patients, stubs=True)
    work: dict[str, Callable[[str], Measured]] = {
        "write: a first refresh": lambda side: _refresh(bucket, folder / side, *_SIDES[side]),
        "read: every header": lambda side: _ask(folder / side, "sql", _HEADERS),
        "read: `status`": lambda side: _ask(folder / side, "status"),
        "open: `select 1`": lambda side: _ask(folder / side, "sql", "select 1"),
        **{
            f"cohort `{name}`": lambda side, name=name: _ask(folder / side, "cohort", "run", name)  # type: ignore[misc]
            for name in _COHORTS
        },
    }
    recorder = Recorder("encryption")
    for name, measure in work.items():
        print(name, file=sys.stderr)
        recorder.save([_measure_pairs(name, measure, given.rounds)])
    plain, encrypted = (_measure_size(folder / side) for side in _SIDES)
    recorder.save([Row("size of the Parquet files", "MB", [encrypted], "not encrypted", [plain])])


def _refresh(bucket: Path, lake: Path, *words: str) -> Measured:
    shutil.rmtree(lake, ignore_errors=True)
    return run_chest("refresh", str(bucket), "--lake", str(lake), "-q", *words)


def _ask(lake: Path, *words: str) -> Measured:
    return run_chest(*words, "--lake", str(lake))


def _measure_pairs(name: str, measure: Callable[[str], Measured], rounds: int) -> Row:
    """CPU seconds of both sides in turn, the first of a pair changing; the first pair is not counted."""
    found: list[dict[str, float]] = []
    for turn in range(rounds + 1):
        sides = list(_SIDES) if turn % 2 else list(_SIDES)[::-1]
        found.append({side: measure(side).cpu_seconds for side in sides})
    plain, encrypted = ([pair[side] for pair in found[1:]] for side in _SIDES)
    return Row(name, "CPU s", encrypted, "not encrypted", plain)


def _measure_size(lake: Path) -> float:
    return sum(path.stat().st_size for path in (lake / "data").rglob("*.parquet")) / 1e6


if __name__ == "__main__":
    main()
