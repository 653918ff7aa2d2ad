"""Several processes on one lake: readers through refreshes and a maintenance, and two writers at once."""

import json
import os
import random
import sys
import time
from pathlib import Path

from .lakes import World, fingerprint, fingerprint_published, require_equal, require_sound
from .moments import Pace, choose_moment, measure_pace, strike_at
from .starter import Command
from .verdicts import CLEAR, EQUAL, Verdict

#: Seconds between two questions of a reader, so that writers have a share of the machine.
_BREATH = 0.05
_SELF = "tests.torture.sharing"


def read_on(lake: str, stop: str, breath: str) -> None:
    """Be a reader: print snapshot and fingerprint of the lake, opened anew each time, until the file `stop` is there.

    The last answer is asked of the session that was opened first, which must still have what it had.
    """
    import warehouse
    from warehouse.settings import Settings

    with warehouse.open(lake, settings=Settings(threads=1)) as oldest:
        seen = fingerprint(oldest)
        while True:
            is_last = os.path.exists(stop)  # noqa: PTH110 - before the question
            with warehouse.open(lake, settings=Settings(threads=1)) as wh:
                print(json.dumps([wh.snapshot.number, fingerprint(wh)]), flush=True)
            if is_last:
                break
            time.sleep(float(breath))
        if fingerprint(oldest) != seen:
            sys.exit("the session that was opened first has changed")


def torture_readers(world: World, n_readers: int, n_refreshes: int, seed: int, breath: float = _BREATH) -> Verdict:
    """Readers open the lake again and again, while it is refreshed and maintained."""
    with world.folder() as folder:
        lake, bucket, stop = folder / "lake", folder / "bucket", folder / "stop"
        chance = random.Random(f"readers/{seed}")
        _write_patient(bucket, 0, chance)
        world.must("refresh", bucket, "--lake", lake, "-q")
        known = [fingerprint_published(lake)]
        readers = [world.start(lake, stop, breath, call=f"{_SELF}:read_on") for _ in range(n_readers)]
        try:
            for number in range(1, n_refreshes + 1):
                _await_answers(readers, number)
                _write_patient(bucket, number, chance)
                world.must("refresh", bucket, "--lake", lake, "-q")
                known.append(fingerprint_published(lake))
            _await_answers(readers, n_refreshes + 1)
            world.must("maintain", "--lake", lake, "-q")
            assert fingerprint_published(lake) == known[-1], "maintenance has changed an answer"
        finally:
            stop.touch()
        n_answers = sum(_check_reader(reader, known) for reader in readers)
        require_sound(lake)
        return Verdict(EQUAL, f"{n_answers} answers of {n_readers} readers, {len(known)} states of the lake")


def _await_answers(readers: list[Command], n_answers: int) -> None:
    """Wait until each reader has answered so often, so that all are at work during every write."""
    until = time.monotonic() + 120
    while any(reader.is_running and reader.count_lines() < n_answers for reader in readers):
        assert time.monotonic() < until, "a reader does not answer"
        time.sleep(0.02)


def _check_reader(reader: Command, known: list[str]) -> int:
    """AssertionError if a reader failed, saw what never was, or went back; how often it answered."""
    done = reader.wait()
    assert done.code == 0, f"a reader failed: {done}"
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert all(seen in known for _, seen in answers), "a reader has seen a state of the lake that never was"
    places = [known.index(seen) for _, seen in answers]
    assert places == sorted(places), f"a reader has seen an older state after a newer one: {places}"
    assert [number for number, _ in answers] == sorted(number for number, _ in answers), "a snapshot after a newer one"
    assert places[-1] == len(known) - 1, "the last state was not seen after all was done"
    return len(answers)


def _write_patient(bucket: Path, number: int, chance: random.Random) -> None:
    path = bucket / f"training/New{number}/data/2020-03-01/data.json"
    path.parent.mkdir(parents=True)
    content = {"Pseudonym": f"New{number}", "SwabStatus": "Negative", "Age": chance.randint(20, 90)}
    path.write_text(json.dumps(content), encoding="utf-8")


def torture_writers(world: World, paces: dict[str, Pace], seed: int) -> Verdict:
    """A second writer (a refresh, or a maintenance) starts at any moment of a refresh."""
    chance = random.Random(f"writers/{seed}")
    with world.folder() as folder:
        lake = folder / "lake"
        words = world.refresh_words(lake)
        if "writers" not in paces:
            world.first.copy(lake)
            paces["writers"] = measure_pace(lambda: world.start(*words), [lake])
            lake.rename(folder / "undisturbed")
        world.first.copy(lake)
        second = words if chance.random() < 0.7 else ("maintain", "--keep-days", "0", "--lake", lake, "-q")
        others: list[Command] = []

        def start_another(_: Command) -> str:
            others.append(world.start(*second))
            return "none"

        one, struck = strike_at(
            lambda: world.start(*words), [lake], choose_moment(chance, paces["writers"]), start_another
        )
        ended = [command.wait() for command in (one, *others)]
        for done in ended:
            assert done.code == 0 or done.is_clear, str(done)
        busy = [done for done in ended if done.code]
        assert all("Another refresh is writing" in done.err for done in busy), str(busy[0])
        world.require_seen(lake)
        world.must(*words)
        require_equal(lake, world.second)
        require_sound(lake)
        note = f"the second after {struck.changes} changes: {second[0]}; {len(busy)} were told that the lake is busy"
        return Verdict(CLEAR if busy else EQUAL, note)
