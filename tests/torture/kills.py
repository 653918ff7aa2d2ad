"""Kills: `kill -9` of a command or of one of its workers at any moment; run again, it ends as if it had never died."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import warehouse

from .lakes import Calm, World, list_lake_files, require_equal, require_sound
from .moments import Pace, Struck, await_end, choose_moment, kill_someone, measure_pace, strike_at
from .verdicts import CLEAR, EQUAL, Verdict

_COHORT = """\
-- title: Films
-- question: Which series are there?
-- grain: series
select SeriesInstanceUID, Modality from series
"""
_PATIENT = "Covid2"
_KILLS_IN_A_ROW = (1, 1, 2, 3)


@dataclass(frozen=True)
class Target:
    """A command to be killed: what it starts from, its words, where it writes, and what must hold in the end."""

    name: str
    #: Its share of all kills.
    weight: int
    prepare: Callable[[World, Path], None]
    words: Callable[[World, Path], tuple[object, ...]]
    watched: str
    check: Callable[[World, Path], None]
    #: Whether readers of folder/lake are looked at after every kill.
    is_read: bool = True
    env: dict[str, str] = field(default_factory=dict)


def _check_refreshed(calm: Callable[[World], Calm]) -> Callable[[World, Path], None]:
    def check(world: World, folder: Path) -> None:
        require_equal(folder / "lake", calm(world))
        require_sound(folder / "lake")

    return check


def _copy_second(world: World, folder: Path) -> None:
    world.second.copy(folder / "lake")


def _check_backup(world: World, folder: Path) -> None:
    world.must("backup", "--verify", folder / "out", "-q")
    require_equal(folder / "out", world.second)
    require_equal(folder / "lake", world.second)


def _write_cohort(world: World, folder: Path) -> None:
    _copy_second(world, folder)
    (folder / "films.sql").write_text(_COHORT, encoding="utf-8")


def _name_manifest(_: World, folder: Path) -> tuple[object, ...]:
    """The export; to a new folder, if the one before has ended up where it should."""
    name = f"manifest{len([path for path in (folder / 'out').glob('manifest*') if path.is_dir()])}"
    return ("manifest", "export", folder / "films.sql", "-o", folder / "out" / name, "--lake", folder / "lake")


def _check_manifests(_: World, folder: Path) -> None:
    made = [warehouse.manifest(path) for path in sorted((folder / "out").glob("manifest*"))]
    assert made, "no manifest was exported"
    assert all(manifest.contents.sources is not None for manifest in made)  # reads every file, and compares its hash
    assert len({manifest.digest for manifest in made}) == 1, "manifests of one question differ"
    require_sound(folder / "lake")


def _check_export(world: World, folder: Path) -> None:
    calm = world.root / "export"
    if not calm.exists():
        world.must("export", "-o", calm, "--format", "csv", "--lake", world.second.lake)
    ours, theirs = (
        {path.name: path.read_bytes() for path in list_lake_files(place) if path.suffix == ".csv"}
        for place in (folder / "out/views", calm)
    )
    assert ours == theirs, f"the export differs from a calm one: {[n for n in theirs if ours.get(n) != theirs[n]]}"


def _name_export(_: World, folder: Path) -> tuple[object, ...]:
    return ("export", "-o", folder / "out/views", "--format", "csv", "--lake", folder / "lake")


def _purge(_: World, folder: Path) -> tuple[object, ...]:
    return ("withdraw", "add", _PATIENT, "--purge", "--reason", "letter", "--lake", folder / "lake", "-q")


def _check_purged(world: World, folder: Path) -> None:
    def make(lake: Path) -> None:
        world.second.copy(lake)
        world.must("withdraw", "add", _PATIENT, "--purge", "--reason", "letter", "--lake", lake, "-q")

    require_equal(folder / "lake", world.find_calm("purged", make))
    require_sound(folder / "lake")


TARGETS = (
    Target(
        "kill first refresh",
        15,
        lambda _, folder: (folder / "lake").mkdir(),
        lambda world, folder: world.refresh_words(folder / "lake"),
        "lake",
        _check_refreshed(lambda world: world.whole),
    ),
    Target(
        "kill refresh with workers",
        15,
        lambda _, folder: (folder / "lake").mkdir(),
        lambda world, folder: world.refresh_words(folder / "lake"),
        "lake",
        _check_refreshed(lambda world: world.whole),
        env={"CHEST_WORKERS": "2"},
    ),
    Target(
        "kill refresh",
        20,
        lambda world, folder: world.first.copy(folder / "lake"),  # type: ignore[arg-type, return-value]
        lambda world, folder: world.refresh_words(folder / "lake"),
        "lake",
        _check_refreshed(lambda world: world.second),
    ),
    Target(
        "kill maintain",
        20,
        _copy_second,
        lambda _, folder: ("maintain", "--keep-days", "0", "--lake", folder / "lake", "-q", "--allow-orphans"),
        "lake",
        _check_refreshed(lambda world: world.second),
    ),
    Target(
        "kill backup",
        10,
        _copy_second,
        lambda _, folder: ("backup", folder / "out", "--lake", folder / "lake", "-q"),
        "out",
        _check_backup,
        is_read=False,
    ),
    Target("kill manifest export", 8, _write_cohort, _name_manifest, "out", _check_manifests),
    Target("kill export", 4, _copy_second, _name_export, "out", _check_export, is_read=False),
    Target("kill purge", 12, _copy_second, _purge, "lake", _check_purged, is_read=False),
)


def torture(world: World, target: Target, paces: dict[str, Pace], seed: int, in_a_row: int = 0) -> Verdict:
    """Kill a command one to three times in a row (or up to `in_a_row`), let it end, and compare."""
    chance = random.Random(f"{target.name}/{seed}")
    if target.name not in paces:
        with world.folder() as folder:
            target.prepare(world, folder)
            words = target.words(world, folder)
            paces[target.name] = measure_pace(lambda: world.start(*words, env=target.env), [folder / target.watched])
            target.check(world, folder)
    verdict = Verdict(EQUAL)
    with world.folder() as folder:
        target.prepare(world, folder)
        for _ in range(in_a_row or chance.choice(_KILLS_IN_A_ROW)):
            if not _kill_once(world, target, folder, paces[target.name], chance, verdict):
                break
            if target.is_read:
                world.require_seen(folder / "lake")
        done = world.must(*target.words(world, folder), env=target.env)
        assert "Traceback" not in done.err, str(done)
        target.check(world, folder)
    return verdict


def _kill_once(world: World, target: Target, folder: Path, pace: Pace, chance: random.Random, verdict: Verdict) -> bool:
    """Kill the command or one of its workers; whether anybody was hit before it ended."""
    children: list[int] = []
    words = target.words(world, folder)
    command, struck = strike_at(
        lambda: world.start(*words, env=target.env),
        [folder / target.watched],
        choose_moment(chance, pace),
        kill_someone(chance, children),
    )
    outcome = command.wait()
    left = await_end(children)
    assert not left, f"workers {left} outlive the command that was killed"
    if outcome.code != -9 and struck.victim != "worker":
        assert outcome.code == 0, f"nobody was hit, but: {outcome}"
        return False
    verdict.kills[struck.victim] += 1
    verdict.shares.append(struck.share(pace))
    verdict.places[_name_place(struck, folder)] += 1
    if struck.victim == "worker":
        assert outcome.code == 0 or outcome.is_clear, f"a worker was killed: {outcome}"
        verdict.kind = CLEAR if outcome.code else verdict.kind
    return True


def _name_place(struck: Struck, folder: Path) -> str:
    """In which part of a lake the last change before the kill was."""
    if not struck.last:
        return "none"
    name = Path(struck.last).relative_to(folder).as_posix()
    if "catalog.sqlite" in name:
        return "journal" if name.endswith("-journal") else "catalogue"
    for words, place in (
        ("catalog.read", "readers' copy"),
        (".chest-part", "temporary file"),
        ("/data/", "data"),
        ("manifest", "export"),
        ("views", "export"),
    ):
        if words in name:
            return place
    return "other"
