"""The moment at which a command is struck: the Nth change of the lake's files, or a share of its CPU time.

Not a time: a busy machine would move all moments to the beginning. Changes are seen through inotify (a write, a new
name, a removed journal); CPU time is that of the process and its children, and reaches what happens between changes.
"""

import contextlib
import os
import random
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.observers.inotify_c import Inotify, InotifyConstants

from .starter import Command

_CHANGES = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE
)
_TICKS = os.sysconf("SC_CLK_TCK")
#: How often CPU time is looked at.
_LOOK = 0.004
_SECONDS = 180.0


@dataclass(frozen=True)
class Pace:
    """What an undisturbed run of a command takes: changes of files, and seconds of CPU."""

    changes: int
    cpu: float


@dataclass(frozen=True)
class Moment:
    """When to strike: at the change of this number, or after these seconds of CPU time."""

    change: int = 0
    cpu: float = 0.0


def choose_moment(chance: random.Random, pace: Pace) -> Moment:
    """A moment of an undisturbed run; most by a change of files, so that it lies where something may break."""
    if chance.random() < 0.75:
        return Moment(change=chance.randint(1, max(1, pace.changes)))
    return Moment(cpu=chance.uniform(0.02, 0.98) * pace.cpu)


@dataclass
class Struck:
    """Whether a command was struck before it ended, how far it had come, and who was hit."""

    is_struck: bool = False
    changes: int = 0
    cpu: float = 0.0
    last: str = ""
    victim: str = ""
    orphans: list[int] = field(default_factory=list)

    def share(self, pace: Pace) -> float:
        """How far it had come, from 0 to 1: by the changes, or by CPU time where there are none."""
        return min(1.0, self.changes / pace.changes) if pace.changes else min(1.0, self.cpu / pace.cpu)


@contextlib.contextmanager
def _watch(folders: list[Path]) -> Iterator[list[Inotify]]:
    watches = []
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            watches.append(
                Inotify(os.fsencode(folder), recursive=True, event_mask=_CHANGES | InotifyConstants.IN_ISDIR)
            )
        yield watches
    finally:
        for watch in watches:
            watch.close()


def strike_at(
    start: Callable[[], Command], folders: list[Path], moment: Moment | None, strike: Callable[[Command], str]
) -> tuple[Command, Struck]:
    """Start a command, call `strike` at the moment (never, without one), and return how far it had come then.

    `strike` returns the name of whom it hit; the command may go on after it.
    """
    found = Struck()
    with _watch(folders) as watches:
        command = start()
        handle = os.pidfd_open(command.pid)
        try:
            waited = [handle, *(watch.fd for watch in watches)]
            until = time.monotonic() + _SECONDS
            while time.monotonic() < until:
                ready, _, _ = select.select(waited, [], [], _LOOK if moment and moment.cpu else 1.0)
                for watch in watches:
                    if watch.fd in ready:
                        found.changes += _count(watch, found)
                if handle in ready:
                    return command, found
                if moment is None or moment.cpu:
                    found.cpu = measure_cpu(command.pid) or found.cpu
                is_time = moment and (
                    (moment.change and found.changes >= moment.change) or (moment.cpu and found.cpu >= moment.cpu)
                )
                if is_time and not found.is_struck:
                    found.is_struck = True
                    found.victim = strike(command)
                    return command, found
        finally:
            os.close(handle)
    raise TimeoutError(f"chest {' '.join(command.words)} has not ended")


def _count(watch: Inotify, found: Struck) -> int:
    events = [event for event in watch.read_events() if not event.is_directory]
    if events:
        found.last = os.fsdecode(events[-1].src_path)
    return len(events)


def measure_pace(start: Callable[[], Command], folders: list[Path]) -> Pace:
    """Run a command undisturbed to its end."""
    command, found = strike_at(start, folders, None, lambda _: "")
    outcome = command.wait()
    assert outcome.code == 0, f"undisturbed, but: {outcome}"
    return Pace(found.changes, max(found.cpu, 0.05))


def measure_cpu(pid: int) -> float:
    """The CPU seconds of a process and its children, also of those that have ended; 0 if it is gone."""
    return sum(_read_cpu(one) for one in [pid, *list_children(pid)])


def _read_cpu(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS
    return 0.0


def list_children(pid: int) -> list[int]:
    """The living children of a process, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text("ascii").split()):
                found += [child, *list_children(child)]
    return found


def kill_someone(chance: random.Random, found: list[int]) -> Callable[[Command], str]:
    """A strike that kills the command, or, if it has any, with equal chance one of its workers.

    All processes that the command had are put into `found`.
    """

    def strike(command: Command) -> str:
        children = list_children(command.pid)
        found[:] = children
        victim = chance.choice(children) if children and chance.random() < 0.5 else command.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return "driver" if victim == command.pid else "worker"

    return strike


def await_end(processes: list[int], seconds: float = 20.0) -> list[int]:
    """Those of these processes that still live after this time."""
    until = time.monotonic() + seconds
    left = []
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if not select.select([handle], [], [], max(0.0, until - time.monotonic()))[0]:
                    left.append(pid)
            finally:
                os.close(handle)
    return left
