"""Worker processes on this machine.

A worker that dies takes its units with it, not the refresh: they are done again, one at a time. A unit that ends its
worker again is halved, until a single object is left, which is rejected.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from warehouse.errors import LakeError
from warehouse.ingest.units.batches import Batch, group_units, split
from warehouse.ingest.units.unit import Receipt, UnitTask, Work

#: The most units that a worker gets at a time: while one is extracted, the next is fetched.
_MOST_AT_A_TIME = 4
#: How many workers in a row may end before they have started.
_MOST_STILLBORN = 4


@dataclass(slots=True)
class _Process:
    """A worker process, the connection to it, whether it has started, and what it is doing."""

    program: subprocess.Popen[bytes]
    link: Connection
    is_ready: bool = False
    batch: Batch | None = None


@dataclass(slots=True)
class LocalWorkers:
    """Up to `count` processes that load units. They start when they are needed, and stay until `close`."""

    work: Work
    count: int
    _running: list[_Process] = field(default_factory=list)
    _stillborn: int = 0

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        while self._running:
            self._end(self._running[-1])

    def _end(self, process: _Process) -> None:
        self._running.remove(process)
        process.link.close()
        process.program.kill()
        process.program.wait()

    def _start(self) -> _Process:
        ours, theirs = Pipe()
        with theirs:
            program = subprocess.Popen(  # noqa: S603 - our own program, by the interpreter that runs
                # -P: not from the working directory, which may be a bucket that somebody else fills.
                [sys.executable, "-P", "-m", "warehouse.ingest.units.process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        process = _Process(program, ours)
        self._running.append(process)
        return process

    def run_units(self, step: str, units: Iterable[UnitTask], number: int) -> Iterator[list[tuple[UnitTask, Receipt]]]:
        """Load a number of units of a step, in any order; yields what was done since the last time.

        Raises the SourceError or LakeError of a worker, and LakeError if workers end before they have begun.
        """
        waiting = group_units(step, units, max(1, min(_MOST_AT_A_TIME, number // (2 * self.count))))
        again: deque[Batch] = deque()
        while True:
            while self._is_free() and (batch := again.popleft() if again else next(waiting, None)):
                if not self._hand_over(batch):
                    again.append(batch)
            busy = {process.link: process for process in self._running if process.batch}
            if not busy:
                return
            done: list[tuple[UnitTask, Receipt]] = []
            for link in wait([*busy]):
                receipts, failed = self._collect(busy[link])  # type: ignore[index]
                done += receipts
                again.extend(failed)
            if done:
                yield done

    def _is_free(self) -> bool:
        return len(self._running) < self.count or any(process.batch is None for process in self._running)

    def _hand_over(self, batch: Batch) -> bool:
        """Give a batch to a free worker; false if that has ended meanwhile."""
        free = next((process for process in self._running if process.batch is None), None) or self._start()
        try:
            free.link.send((self.work, batch.step, batch.units))
        except ConnectionError:
            self._bury(free)
            return False
        free.batch = batch
        return True

    def _collect(self, process: _Process) -> tuple[list[tuple[UnitTask, Receipt]], list[Batch]]:
        """The receipts of a worker; or if it has died, what is to be done again."""
        batch = process.batch
        assert batch
        try:
            found: Any = process.link.recv()
        except (EOFError, ConnectionError):
            self._bury(process)
            return split(batch) if process.is_ready else ([], [batch])
        if not process.is_ready:
            process.is_ready, self._stillborn = True, 0
            return [], []
        process.batch = None
        if isinstance(found, BaseException):
            raise found
        return list(zip(batch.units, found, strict=True)), []

    def _bury(self, process: _Process) -> None:
        """Forget a worker that has died; LakeError if one after another does before it has started."""
        self._end(process)
        self._stillborn += not process.is_ready
        if self._stillborn > _MOST_STILLBORN:
            raise LakeError(
                f"Worker processes end as soon as they are started (exit code {process.program.returncode}). Load "
                "within one process:  CHEST_WORKERS=1"
            )
