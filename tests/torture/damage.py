"""Damage to any one file of the lake: it is found, and repaired from the bucket or a backup; no answer is wrong."""

import os
import random
from pathlib import Path

from .lakes import World, list_lake_files, require_equal, require_sound
from .verdicts import CLEAR, EQUAL, Verdict

KINDS = ("flipped", "cut", "empty", "missing", "longer", "overwritten")


def torture(world: World, seed: int, in_a_row: int = 1) -> Verdict:
    """Damage one file, ask, examine, repair, so often in a row; refresh and compare."""
    chance = random.Random(f"damage/{seed}")
    backup = world.root / "backup"
    if not backup.exists():
        world.must("backup", backup, "--lake", world.second.lake, "-q")
    with world.folder() as folder:
        lake = world.second.copy(folder / "lake")
        verdict = Verdict(EQUAL)
        for _ in range(in_a_row):
            _damage_and_repair(world, lake, backup, chance, verdict)
        refreshed = world.run(*world.refresh_words(lake))
        if "does not state which lake" in refreshed.err:  # a person decides that, and removes it
            assert refreshed.is_clear, f"{verdict.note}: {refreshed}"
            (lake / "data/lake.json").unlink()
            refreshed = world.run(*world.refresh_words(lake))
        assert refreshed.code == 0, f"{verdict.note}: {refreshed}"
        try:
            require_equal(lake, world.second)
            require_sound(lake)
        except Exception as error:
            raise AssertionError(f"{verdict.note}: {error}") from error
        return verdict


def _damage_and_repair(world: World, lake: Path, backup: Path, chance: random.Random, verdict: Verdict) -> None:
    path = chance.choice(list_lake_files(lake))
    kind = _damage(path, chance)
    name = f"{path.relative_to(lake).as_posix()} {kind}"
    asked = world.run("sql", "select count(*) from images", "--lake", lake)
    assert asked.code == 0 or asked.is_clear, f"{name}: {asked}"
    examined = world.run("doctor", "--lake", lake, "-q")
    assert examined.code in (0, 1) or examined.is_clear, f"{name}: {examined}"
    assert "Traceback" not in examined.err, f"{name}: {examined}"
    if examined.code:
        verdict.kind = CLEAR
        repaired = world.run("doctor", "--repair", "--lake", lake, "--from-backup", backup, "-q")
        assert "Traceback" not in repaired.err, f"{name}: {repaired}"
        assert repaired.code in (0, 1), f"{name}: {repaired}"
    verdict.note += f"{'; ' if verdict.note else ''}{name}, doctor {examined.code}"


def _damage(path: Path, chance: random.Random) -> str:
    """Damage a file, as a disk does: often without a new time of writing. Returns how."""
    size, before = path.stat().st_size, path.stat()
    kind = chance.choice(KINDS) if size else chance.choice(("missing", "longer"))
    if kind == "missing":
        path.unlink()
        return kind
    content = bytearray(path.read_bytes())
    place = chance.randrange(size) if size else 0
    if kind == "flipped":
        content[place] ^= 1 << chance.randrange(8)
    elif kind == "overwritten":
        content[place : place + 64] = bytes(len(content[place : place + 64]))
    elif kind == "longer":
        content += chance.randbytes(50)
    else:
        content = content[:place] if kind == "cut" else bytearray()
    path.write_bytes(content)
    if chance.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return f"{kind}, with its old time"
    return kind
