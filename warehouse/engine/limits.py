"""Limits of time and memory for untrusted SQL, and for all that is made of it.

Some single calls heed no interruption and no memory limit of DuckDB's. Where the process is there for one command
alone (`claim_process`), the operating system limits its memory, and it ends when it does not stop; the operating system
ends it where a call lets no thread of ours run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import machine_memory
from warehouse.errors import UsageError
from warehouse.filesystem import leftovers
from warehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb

#: How long what does not heed its interruption may go on, where the process is ours.
_GRACE_SECONDS = 3.0

#: How long after that the operating system ends the process; code that holds Python's lock allows no message.
_LAST_SECONDS = 3.0

_is_own_process = False
_ending = threading.Lock()
#: When the time of the block around is up (time.monotonic); None outside of one.
_ends: ContextVar[float | None] = ContextVar("_ends", default=None)


def claim_process() -> None:
    """Mark this process as running a single command: it may be ended, and its memory limited."""
    global _is_own_process  # noqa: PLW0603 - whose the process is, is a fact of the process
    _is_own_process = True


def release_process() -> None:
    """Say that this process serves many: no command of it may end it, or limit its memory."""
    global _is_own_process  # noqa: PLW0603 - see above
    _is_own_process = False


@contextlib.contextmanager
def limit_resources(settings: Settings, con: duckdb.DuckDBPyConnection | None = None) -> Iterator[None]:
    """Keep a block to the time of untrusted SQL (`sql_seconds`): UsageError when it is up.

    What runs on the connection is interrupted. A block within another has what is left of the other's time, so a
    command of many queries has no more of it than one. In a process of our own memory is limited too, and the process
    ends with the same words when the block does not stop.
    """
    outer = _ends.get()
    ends = time.monotonic() + settings.sql_seconds if settings.sql_seconds else None
    if outer is not None:
        ends = outer if ends is None else min(ends, outer)
    token = _ends.set(ends)
    clock = _Clock(settings, con, ends)
    is_outermost = outer is None
    megabytes = machine_memory.untrusted_process_mb(settings) if _is_own_process and is_outermost else 0
    try:
        with (
            _limit_memory(megabytes),
            _set_alarm(ends if _is_own_process and is_outermost else None),
            clock.running(),
        ):
            yield
    finally:
        _ends.reset(token)


class _Clock:
    """Watches over a block from a thread of its own."""

    def __init__(self, settings: Settings, con: duckdb.DuckDBPyConnection | None, ends: float | None) -> None:
        self.con, self.ends = con, ends
        self.message = (
            f"The query took longer than {settings.sql_seconds:g} s. "
            "Ask for less, or allow more with CHEST_SQL_SECONDS."
        )
        self.over, self.done = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        import duckdb

        watcher = threading.Thread(target=self.watch, daemon=True)
        watcher.start()
        try:
            yield
            if self.over.is_set():  # what was not interrupted, since it was not DuckDB's
                raise UsageError(self.message)
        except (duckdb.Error, UsageError, RuntimeError):
            if self.over.is_set():
                raise UsageError(self.message) from None
            raise
        except MemoryError:
            raise UsageError(
                "The answer does not fit into memory. Ask for less, or allow more with CHEST_SQL_MEMORY_MB."
            ) from None
        finally:
            self.done.set()
            watcher.join()

    def watch(self) -> None:
        if self.ends is None or self.done.wait(max(0.0, self.ends - time.monotonic())):
            return
        self.over.set()
        # Again and again: between two steps of a query there is nothing to interrupt.
        while not self.done.wait(0.1):
            if self.con is not None:
                self.con.interrupt()
            if _is_own_process and time.monotonic() > self.ends + _GRACE_SECONDS:
                _end_process(self.message)


def _end_process(message: str) -> None:
    """End the process with a line of error, whatever it is doing; of several that want it one does."""
    with _ending:
        sys.stderr.write(f"chest: {message}\n")
        sys.stderr.flush()
        leftovers.remove_all()
        os._exit(UsageError.exit_code)


@contextlib.contextmanager
def _set_alarm(ends: float | None) -> Iterator[None]:
    """Let the operating system end the process some time after the block should have ended; not on Windows."""
    if ends is None or not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, max(0.0, ends - time.monotonic()) + _GRACE_SECONDS + _LAST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


@contextlib.contextmanager
def _limit_memory(megabytes: int) -> Iterator[None]:
    """Let the process take so much more memory than it holds; on Linux, elsewhere DuckDB's limit must do."""
    held = _measure_data()
    if not megabytes or held is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + megabytes * 2**20
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _measure_data() -> int | None:
    """What RLIMIT_DATA counts: the memory that the process has for itself."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return None
