"""A part of the torture (`make torture`; tests/torture), always with the same seeds: ten of each.

Faults come in a row on one lake wherever each leaves it usable, so that a comparison serves several.
"""

from collections.abc import Iterator

import pytest
from faulty import Faulty
from torture import damage, disks, growth, kills, network, sharing
from torture.lakes import World
from torture.moments import Pace
from torture.scenarios import open_worlds
from torture.verdicts import FAILED, SKIPPED, Verdict

TARGETS = {target.name: target for target in kills.TARGETS}
#: About what an undisturbed run takes, so that it need not be measured: a moment after its end is no kill.
PACES = dict.fromkeys((*TARGETS, "disk", "writers"), Pace(changes=120, cpu=0.8))
#: It writes few files, and each try that comes too late costs two exports and their comparison.
PACES["kill manifest export"] = Pace(changes=20, cpu=0.8)
#: How often each command is killed: ten times in all.
KILLS = {"kill refresh": 5, "kill maintain": 2, "kill backup": 1, "kill manifest export": 1, "kill purge": 1}
#: At which rate each kind of fault is met; the rates change from kind to kind.
RATES = {kind: (30, 10, 1)[place % 3] for place, kind in enumerate(network.KINDS)}
#: Fewer commits than otherwise, which cost most of such a refresh, and which the bucket does not concern.
LARGE_UNITS = {"CHEST_UNIT_OBJECTS": "50"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Faulty]]:
    with open_worlds(tmp_path_factory.mktemp("torture")) as worlds:
        yield worlds.s3


@pytest.fixture
def world(made: tuple[World, Faulty]) -> World:
    return made[0]


def require(verdict: Verdict) -> Verdict:
    assert verdict.kind != FAILED, verdict.note
    return verdict


@pytest.mark.parametrize(("name", "number"), KILLS.items())
def test_a_killed_command_ends_as_if_it_had_never_died(world: World, name: str, number: int) -> None:
    n_killed, seed = 0, 3
    while n_killed < number:
        assert seed < 3 + 3 * number, "the command ends before it is killed"
        n_killed += require(kills.torture(world, TARGETS[name], PACES, seed, number - n_killed)).kills.total()
        seed += 1


@pytest.mark.slow(cases=("500", "held body", "stale page", "403"))
@pytest.mark.parametrize(("kind", "rate"), RATES.items())
def test_a_faulty_bucket_ends_equal_or_clearly(made: tuple[World, Faulty], kind: str, rate: int) -> None:
    require(network.torture(*made, kind, rate, 1, LARGE_UNITS))


@pytest.mark.parametrize(
    ("torture", "number"),
    [(disks.torture_full, 4), (disks.torture_closed, 3), (disks.torture_limited, 3)],
    ids=["full", "closed", "limited"],
)
def test_a_disk_that_takes_nothing_more(world: World, torture: disks.Torture, number: int) -> None:
    if require(torture(world, PACES, 1, number)).kind == SKIPPED:
        pytest.skip("a small disk can be mounted by root alone")


def test_readers_through_refreshes_and_a_maintenance(world: World) -> None:
    require(sharing.torture_readers(world, 2, 2, 1, breath=0.5))


def test_two_writers(world: World) -> None:
    require(sharing.torture_writers(world, PACES, 1))


def test_small_refreshes(world: World) -> None:
    require(growth.torture(world, 10, 1))


def test_damage_to_any_file(world: World) -> None:
    require(damage.torture(world, 2, 10))
