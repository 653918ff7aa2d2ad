"""A small part of the torture (`make torture`; tests/torture): about ten kills, ten faults of the bucket, and some of
each other scenario, always with the same seeds."""

from collections.abc import Iterator

import pytest
from torture import damage, disks, growth, kills, network, sharing
from torture.moments import Pace
from torture.scenarios import Worlds, open_worlds
from torture.verdicts import FAILED, Verdict

#: Kind of fault, how many per cent of the requests have it, and the seed.
FAULTS = [
    *(("503", 30, 1), ("reset", 10, 1), ("body cut off", 10, 1), ("short body", 30, 1), ("altered body", 10, 1)),
    *(("long body", 10, 1), ("stale page", 30, 1), ("doubled page", 30, 1), ("403", 10, 1)),
    *(("expired credentials", 10, 1),),
]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with open_worlds(tmp_path_factory.mktemp("torture")) as made:
        yield made


@pytest.fixture(scope="module")
def paces() -> dict[str, Pace]:
    return {}


def require(verdict: Verdict) -> None:
    assert verdict.kind != FAILED, verdict.note


@pytest.mark.parametrize("target", kills.TARGETS, ids=lambda target: target.name)
def test_a_killed_command_ends_as_if_it_had_never_died(
    worlds: Worlds, paces: dict[str, Pace], target: kills.Target
) -> None:
    verdict = kills.torture(worlds.folder, target, paces, 1)
    require(verdict)


@pytest.mark.parametrize(("kind", "rate", "seed"), FAULTS)
def test_a_faulty_bucket_ends_equal_or_clearly(worlds: Worlds, kind: str, rate: int, seed: int) -> None:
    require(network.torture(*worlds.s3, kind, rate, seed))


@pytest.mark.parametrize("torture", [disks.torture_full, disks.torture_closed], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_more(worlds: Worlds, paces: dict[str, Pace], torture: disks.Torture) -> None:
    require(torture(worlds.folder, paces, 1))


def test_files_that_may_not_grow(worlds: Worlds) -> None:
    require(disks.torture_limited(worlds.folder, {}, 1))


def test_readers_through_refreshes_and_a_maintenance(worlds: Worlds) -> None:
    require(sharing.torture_readers(worlds.folder, 2, 2, 1))


def test_two_writers(worlds: Worlds, paces: dict[str, Pace]) -> None:
    require(sharing.torture_writers(worlds.folder, paces, 1))


def test_small_refreshes(worlds: Worlds) -> None:
    require(growth.torture(worlds.folder, 6, 1))


@pytest.mark.parametrize("seed", range(1, 5))
def test_damage_to_any_file(worlds: Worlds, seed: int) -> None:
    require(damage.torture(worlds.folder, seed))
