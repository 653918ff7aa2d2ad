"""All scenarios: their names, how often each is tried, and the worlds that they share."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faulty import Faulty

from . import damage, disks, growth, kills, network, sharing
from .lakes import World, make_calm, write_first_state
from .moments import Pace
from .starter import Starter, open_starter
from .verdicts import Tally, Verdict, judge

#: The seed of the bucket, always the same: thirteen images of three patients.
BUCKET_SEED = 3


@dataclass(frozen=True)
class Amount:
    """How much: kills in all, tries of each other scenario (0: as many as it has by itself), small refreshes in a row;
    readers, and the refreshes that they see."""

    kills: int
    tries: int
    refreshes: int
    readers: int = 8
    refreshes_read: int = 5


@dataclass
class Worlds:
    """The world of a folder and that of S3, each made when it is first needed."""

    root: Path
    stack: contextlib.ExitStack
    _starter: Starter | None = None
    _folder: World | None = None
    _s3: tuple[World, Faulty] | None = None

    @property
    def starter(self) -> Starter:
        """What starts commands."""
        if not self._starter:
            self._starter = self.stack.enter_context(open_starter(self.root / "commands"))
        return self._starter

    @property
    def folder(self) -> World:
        """A bucket that is a folder."""
        if not self._folder:
            bucket = self.root / "folder/bucket"
            bucket.parent.mkdir(parents=True)
            write_first_state(bucket, BUCKET_SEED)
            self._folder = make_calm(self.root / "folder", self.starter, str(bucket), bucket, {})
        return self._folder

    @property
    def s3(self) -> tuple[World, Faulty]:
        """A bucket on S3, behind a proxy that fails."""
        if not self._s3:
            self._s3 = self.stack.enter_context(network.open_world(self.root, self.starter, BUCKET_SEED))
        return self._s3


@dataclass(frozen=True)
class Scenario:
    """A scenario by name: how many tries it has by itself; its kills are counted instead where it has a `weight`."""

    name: str
    tries: int
    attempt: Callable[[Worlds, Amount, int], Verdict]
    weight: int = 0
    is_of_s3: bool = False


def list_scenarios() -> list[Scenario]:
    """All, in the order in which they run."""
    paces: dict[str, Pace] = {}

    def kill(target: kills.Target) -> Scenario:
        return Scenario(
            target.name, 0, lambda worlds, _, seed: kills.torture(worlds.folder, target, paces, seed), target.weight
        )

    def fail(kind: str, rate: int) -> Scenario:
        return Scenario(
            f"s3 {kind} {rate} %",
            3,
            lambda worlds, _, seed: network.torture(*worlds.s3, kind, rate, seed),
            is_of_s3=True,
        )

    return [
        *(kill(target) for target in kills.TARGETS),
        *(fail(kind, rate) for kind in network.KINDS for rate in network.RATES),
        Scenario("disk full", 15, lambda worlds, _, seed: disks.torture_full(worlds.folder, paces, seed)),
        Scenario("disk read-only", 15, lambda worlds, _, seed: disks.torture_closed(worlds.folder, paces, seed)),
        Scenario("files limited", 10, lambda worlds, _, seed: disks.torture_limited(worlds.folder, paces, seed)),
        Scenario(
            "readers",
            2,
            lambda worlds, amount, seed: sharing.torture_readers(
                worlds.folder, amount.readers, amount.refreshes_read, seed
            ),
        ),
        Scenario("two writers", 12, lambda worlds, _, seed: sharing.torture_writers(worlds.folder, paces, seed)),
        Scenario(
            "small refreshes", 1, lambda worlds, amount, seed: growth.torture(worlds.folder, amount.refreshes, seed)
        ),
        Scenario("damage", 40, lambda worlds, _, seed: damage.torture(worlds.folder, seed)),
    ]


def run_all(root: Path, first_seed: int, amount: Amount, only: list[str], show: Callable[[str], None]) -> list[Tally]:
    """Run the scenarios whose names contain one of `only`, or all; returns what came of them."""
    tallies = []
    chosen = [one for one in list_scenarios() if not only or any(words in one.name for words in only)]
    weights = sum(one.weight for one in chosen)
    with open_worlds(root) as worlds:
        for scenario in chosen:
            tally = Tally(scenario.name)
            tallies.append(tally)
            n_kills = -(-amount.kills * scenario.weight // weights) if scenario.weight else 0
            seeds = _count_seeds(first_seed, amount.tries or scenario.tries, n_kills, tally)
            _ = worlds.s3 if scenario.is_of_s3 else worlds.folder  # an error of what is calm ends everything
            attempt = functools.partial(scenario.attempt, worlds, amount)
            judge(tally, seeds, attempt, show)
    return tallies


def _count_seeds(first: int, tries: int, n_kills: int, tally: Tally) -> Iterator[int]:
    """Seeds until a scenario has its tries, or has seen its kills."""
    seed = first
    while (
        (tally.kills.total() < n_kills and seed < first + 3 * n_kills)
        if n_kills and not tries
        else seed < first + tries
    ):
        yield seed
        seed += 1


@contextlib.contextmanager
def open_worlds(root: Path) -> Iterator[Worlds]:
    """The worlds in a folder, and the processes that belong to them."""
    with contextlib.ExitStack() as stack:
        yield Worlds(root, stack)
