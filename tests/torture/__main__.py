"""Runs the torture and reports: `python -m tests.torture --seed 1 --kills 100`; `make torture` runs all of it.

Each scenario takes a seed. A failure is reported with its seed, and `--only NAME --seed N --tries 1` repeats it. Exit
code 1 if anything failed.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from .scenarios import Amount, run_all
from .verdicts import FAILED, render


def main() -> int:
    """Run what was asked for; the exit code."""
    words = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    words.add_argument("--seed", type=int, default=1, help="the first seed of each scenario; the next follow it")
    words.add_argument("--kills", type=int, default=100, help="kills in all (100)")
    words.add_argument(
        "--tries", type=int, default=0, help="tries of each other scenario (as many as it has by itself)"
    )
    words.add_argument("--refreshes", type=int, default=200, help="small refreshes in a row (200)")
    words.add_argument("--only", nargs="*", default=[], metavar="NAME", help="scenarios whose name contains this")
    words.add_argument("--folder", type=Path, help="where to work (a temporary folder)")
    given = words.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chest-torture-", dir=given.folder) as folder:
        amount = Amount(given.kills, given.tries, given.refreshes)
        tallies = run_all(Path(folder), given.seed, amount, given.only, lambda line: print(line, flush=True))
    if not tallies:
        print(f"no scenario is called {' or '.join(given.only)}", file=sys.stderr)
        return 2
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    print(
        f"\n{render(tallies)}\n{time.monotonic() - started:,.0f} s, {cpu:,.0f} s of CPU, load {os.getloadavg()[0]:.1f}"
    )
    return int(any(tally.count(FAILED) for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
