"""The disk below the lake is full, or no longer writable, from any moment of a refresh on; later it is well again.

It may happen several times in a row to the refreshes that follow.
"""

import contextlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from .lakes import World, require_equal, require_sound
from .moments import Pace, choose_moment, measure_pace, strike_at
from .starter import Command, Outcome
from .verdicts import CLEAR, EQUAL, SKIPPED, Verdict

Torture = Callable[[World, dict[str, Pace], int, int], Verdict]

#: The size of the small disk.
_MIB = 24
#: The least size of a file to which a process is limited: what it prints must fit.
_LEAST = 4096


@contextlib.contextmanager
def _mount_small_disk(place: Path) -> Iterator[bool]:
    """A file system of its own in memory, for root; whether that was possible."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_MIB}m,mode=755", "tmpfs", str(place)]
    is_mounted = not os.getuid() and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def _fill(disk: Path) -> None:
    """Write until nothing more fits."""
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def torture_full(world: World, paces: dict[str, Pace], seed: int, in_a_row: int = 1) -> Verdict:
    """The disk is full from a moment of the refresh on."""
    with world.folder() as folder, _mount_small_disk(folder / "disk") as is_mounted:
        if not is_mounted:
            return Verdict(SKIPPED, "a small disk can be mounted by root alone")

        def strike(_: Command) -> str:
            _fill(folder / "disk")
            return "disk"

        def heal() -> None:
            (folder / "disk/ballast").unlink(missing_ok=True)

        return _torture(world, paces, folder / "disk/lake", random.Random(f"full/{seed}"), in_a_row, strike, heal)


def torture_closed(world: World, paces: dict[str, Pace], seed: int, in_a_row: int = 1) -> Verdict:
    """Nothing in the lake's folder can be written or made any more from a moment of the refresh on."""
    with world.folder() as folder:
        lake = folder / "lake"

        def strike(_: Command) -> str:
            _change_modes(lake, lambda mode: mode & ~0o222)
            return "disk"

        def heal() -> None:
            _change_modes(lake, lambda mode: mode | 0o200)

        try:
            chance = random.Random(f"closed/{seed}")
            return _torture(world, paces, lake, chance, in_a_row, strike, heal, is_powerless=True)
        finally:
            heal()


def torture_limited(world: World, _: dict[str, Pace], seed: int, in_a_row: int = 1) -> Verdict:
    """No file may grow beyond a size, so that a write fails in the middle of a file."""
    chance = random.Random(f"limited/{seed}")
    with world.folder() as folder:
        lake = world.first.copy(folder / "lake")
        most = max(path.stat().st_size for path in lake.rglob("*") if path.is_file())
        verdict = Verdict(EQUAL)
        for _ in range(in_a_row):
            largest = round(_LEAST * (most * 1.1 / _LEAST) ** chance.random())
            done = world.start(*world.refresh_words(lake), largest=largest).wait()
            _add(world, lake, verdict, done, f"files of {largest:,} bytes at most")
        return _end_well(world, lake, verdict)


def _torture(
    world: World,
    paces: dict[str, Pace],
    lake: Path,
    chance: random.Random,
    in_a_row: int,
    strike: Callable[[Command], str],
    heal: Callable[[], None],
    *,
    is_powerless: bool = False,
) -> Verdict:
    """Strike, see that the command ends and readers read, heal; and let a last refresh end what is left."""
    words = world.refresh_words(lake)
    if "disk" not in paces:
        world.first.copy(lake)
        paces["disk"] = measure_pace(lambda: world.start(*words), [lake])
        subprocess.run(["rm", "-r", str(lake)], check=True)
    world.first.copy(lake)
    verdict = Verdict(EQUAL)
    start = lambda: world.start(*words, is_powerless=is_powerless)  # noqa: E731
    for _ in range(in_a_row):
        command, struck = strike_at(start, [lake], choose_moment(chance, paces["disk"]), strike)
        _add(world, lake, verdict, command.wait(), f"after {struck.changes} changes")
        heal()
        if not struck.is_struck:
            break
        verdict.shares.append(struck.share(paces["disk"]))
    return _end_well(world, lake, verdict)


def _add(world: World, lake: Path, verdict: Verdict, done: Outcome, what: str) -> None:
    """Add to a verdict how a refresh with trouble ended; AssertionError if it did so badly."""
    assert done.code == 0 or done.is_clear, f"{what}: {done}"
    world.require_seen(lake)
    verdict.kind = CLEAR if done.code else verdict.kind
    verdict.note += f"{'; ' if verdict.note else ''}{what}; {done.err.strip()[-200:]}"


def _end_well(world: World, lake: Path, verdict: Verdict) -> Verdict:
    """The verdict, after a refresh without trouble and a comparison."""
    world.must(*world.refresh_words(lake))
    require_equal(lake, world.second)
    require_sound(lake)
    return verdict


def _change_modes(lake: Path, change: Callable[[int], int]) -> None:
    """Change the permissions of a lake's files and folders."""
    for folder, _, names in os.walk(lake):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):  # it is temporary
                path.chmod(change(path.stat().st_mode & 0o7777))
