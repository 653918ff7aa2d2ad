"""Starts commands, each a process of its own (forking.py), and has their exit code and what they print."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Where `tests` and `warehouse` are.
HOME = Path(__file__).parents[2]
#: How long any command may take, on a busy machine.
_SECONDS = 180.0


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def is_clear(self) -> bool:
        """Whether it failed as a user may see it: exit code 1 or 2, no traceback, and a line with what is wrong and, in
        another sentence, what to do."""
        lines = [line for line in self.err.splitlines() if line.startswith("chest: ")]
        return self.code in (1, 2) and "Traceback" not in self.err and any(". " in line for line in lines)

    def __str__(self) -> str:
        last = " | ".join(self.err.strip().splitlines()[-4:])[-700:]
        return f"chest {' '.join(self.words)}: exit code {self.code}: {last}"


class Command:
    """A process that was started."""

    def __init__(self, starter: "Starter", pid: int, words: tuple[str, ...], prints: tuple[Path, Path]) -> None:
        self.pid, self.words = pid, words
        self._starter, self._prints = starter, prints

    def wait(self, seconds: float = _SECONDS) -> Outcome:
        """Wait until it ends; TimeoutError if it does not."""
        code = self._starter.wait_for(self.pid, seconds)
        out, err = (path.read_text("utf-8", "replace") for path in self._prints)
        return Outcome(self.words, code, out, err)

    def count_lines(self) -> int:
        """How many lines it has printed."""
        return self._prints[0].read_bytes().count(b"\n") if self._prints[0].exists() else 0

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.pid not in self._starter.codes


@dataclass
class Starter:
    """The forking process, and the exit codes of its children by their number."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    codes: dict[int, int] = field(default_factory=dict)
    n_started: int = 0
    _pids: list[int] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _one: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def listen(self) -> None:
        """Take in what the forking process reports, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = json.loads(line)
            with self._changed:
                if "pid" in found:
                    self._pids.append(found["pid"])
                    self.codes.pop(found["pid"], None)  # of an earlier child: the system uses numbers again
                else:
                    self.codes[found["ended"]] = found["code"]
                self._changed.notify_all()

    def take_pid(self) -> int:
        """The number of the process that was started last."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._pids), _SECONDS):
                raise TimeoutError("the process that starts commands does not answer")
            return self._pids.pop(0)

    def wait_for(self, pid: int, seconds: float) -> int:
        """The exit code of a child, minus the signal that ended it."""
        with self._changed:
            if not self._changed.wait_for(lambda: pid in self.codes, seconds):
                raise TimeoutError(f"process {pid} has not ended after {seconds:g} s")
            return self.codes[pid]

    def start(
        self,
        *words: object,
        env: dict[str, str] | None = None,
        largest: int = 0,
        call: str = "",
        is_powerless: bool = False,
    ) -> Command:
        """Start `chest WORDS`, or a function `module:name` with these words.

        `largest` limits its files, in bytes; permissions hold for one that `is_powerless`, though it be root's.
        """
        texts = tuple(str(word) for word in words)
        number = next(self._numbers)
        prints = (self.folder / f"{number}.out", self.folder / f"{number}.err")
        asked = {
            "words": texts,
            "env": {**self.environment(), **(env or {})},
            "out": str(prints[0]),
            "err": str(prints[1]),
            "largest": largest,
            "call": call,
            "is_powerless": is_powerless,
        }
        with self._one:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(asked).encode() + b"\n")
            self.process.stdin.flush()
            self.n_started += 1
            return Command(self, self.take_pid(), texts, prints)

    def environment(self) -> dict[str, str]:
        """What every command sees: nothing of whoever runs this; small units, so that there are many commits."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PYTHONPATH": os.pathsep.join(map(str, _PATHS)),
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHEST_THREADS": "1",
            "CHEST_FETCH_THREADS": "4",
            "CHEST_UNIT_OBJECTS": "6",
        }


_PATHS = (HOME, HOME / "tests", HOME / "tests/support")


@contextlib.contextmanager
def open_starter(folder: Path) -> Iterator[Starter]:
    """A starter whose commands have `folder` for what is temporary; what still runs at the end is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.torture.forking"]
    paths = {"PYTHONPATH": os.pathsep.join(map(str, _PATHS)), "CHEST_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=HOME, env={**os.environ, **paths}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        starter = Starter(process, folder)
        threading.Thread(target=starter.listen, daemon=True).start()
        try:
            starter.take_pid()
            yield starter
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)
