"""A small part of the torture (`make torture`; tests/torture) of one bucket on S3, always with the same seeds."""

from collections.abc import Iterator

import pytest
from faulty import Faulty
from torture import damage, disks, kills, network, sharing
from torture.lakes import World
from torture.moments import Pace
from torture.scenarios import open_worlds
from torture.verdicts import FAILED, Verdict

TARGETS = {target.name: target for target in kills.TARGETS}
#: About what an undisturbed run takes, so that it need not be measured: a moment after its end is no kill.
PACES = dict.fromkeys((*TARGETS, "disk", "writers"), Pace(changes=120, cpu=0.8))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Faulty]]:
    with open_worlds(tmp_path_factory.mktemp("torture")) as worlds:
        yield worlds.s3


@pytest.fixture
def world(made: tuple[World, Faulty]) -> World:
    return made[0]


def require(verdict: Verdict) -> None:
    assert verdict.kind != FAILED, verdict.note


@pytest.mark.parametrize("name", ["kill refresh", "kill maintain", "kill manifest export"])
def test_a_killed_command_ends_as_if_it_had_never_died(world: World, name: str) -> None:
    require(kills.torture(world, TARGETS[name], PACES, 3))


@pytest.mark.parametrize(
    ("kind", "rate"),
    [("short body", 30), ("stale page", 30), ("doubled page", 30), ("403", 10), ("expired credentials", 10)],
)
def test_a_faulty_bucket_ends_equal_or_clearly(made: tuple[World, Faulty], kind: str, rate: int) -> None:
    require(network.torture(*made, kind, rate, 1))


@pytest.mark.parametrize("torture", [disks.torture_full, disks.torture_limited], ids=["full", "limited"])
def test_a_disk_that_takes_nothing_more(world: World, torture: disks.Torture) -> None:
    require(torture(world, PACES, 1))


def test_readers_through_a_refresh_and_a_maintenance(world: World) -> None:
    require(sharing.torture_readers(world, 2, 1, 1))


def test_two_writers(world: World) -> None:
    require(sharing.torture_writers(world, PACES, 1))


@pytest.mark.parametrize("seed", [2])
def test_damage_to_any_file(world: World, seed: int) -> None:
    require(damage.torture(world, seed))
