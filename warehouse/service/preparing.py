"""What takes long to make (an index, the facets) is made once, in the background; whoever waits sees how far it is.

It goes on when who asked first has gone away, and is there for the next. A caller has a few of these at a time, whoever
waits or has gone: what others need is not behind hundreds of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.errors import WarehouseError

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

#: What is being made for one caller at a time.
_MOST_OF_CALLER = 2
#: Lets DuckDB count how far a query is, from its first moment, and print nothing.
_COUNTING = ("enable_progress_bar = true", "enable_progress_bar_print = false", "progress_bar_time = 0")


class Progress:
    """How far something is, read from any thread."""

    def __init__(self, what: str) -> None:
        """Begin; `what` is being read."""
        self.what, self._begun = what, time.monotonic()
        self._done = self._most = 0.0
        self._upto = 0.0
        self._con: duckdb.DuckDBPyConnection | None = None

    @contextlib.contextmanager
    def follow(self, con: duckdb.DuckDBPyConnection, upto: float) -> Iterator[None]:
        """Follow the queries of a block, at the end of which `upto` (0 to 1) of everything is done."""
        for setting in _COUNTING:
            con.execute(f"set {setting}")
        self._con, self._upto = con, upto
        try:
            yield
        finally:
            self._con, self._done = None, upto

    def interrupt(self) -> None:
        """Stop the query that runs."""
        con = self._con
        if con is not None:
            con.interrupt()

    @property
    def percent(self) -> int:
        """The share that is done, in whole per cent; it never falls, and is 100 only at the end."""
        import duckdb

        share, con = self._done, self._con
        if con is not None:
            with contextlib.suppress(duckdb.Error):  # it has just been closed
                share += max(0.0, con.query_progress()) / 100 * (self._upto - self._done)
        self._most = max(self._most, min(share, 0.99))
        return int(100 * self._most)

    @property
    def seconds(self) -> float:
        """For how long it has been going on."""
        return time.monotonic() - self._begun


class PreparingError(WarehouseError):
    """Something is still being made. `progress` shows how far it is."""

    http = (503, "The lake is being read")
    heals = True

    def __init__(self, progress: Progress) -> None:
        """Of what is being made."""
        self.progress = progress
        super().__init__(
            f"{progress.what} are being read: {progress.percent} % after {progress.seconds:.0f} s. Ask again soon."
        )


class Preparing:
    """What is being made now, by key."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._tasks: dict[object, tuple[asyncio.Task[Any], Progress, str]] = {}

    async def wait(
        self,
        key: object,
        what: str,
        make: Callable[[Progress], Awaitable[T]],
        seconds: float | None = None,
        *,
        whose: str,
    ) -> T:
        """Wait for what `make` makes, which is begun unless it is being made; PreparingError after some seconds.

        A caller (`whose`) for whom others are being made waits until there are few enough of them.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        while key not in self._tasks:
            theirs = [found for found in self._tasks.values() if found[2] == whose]
            if len(theirs) >= _MOST_OF_CALLER:
                await _wait_until(theirs[0][0], theirs[0][1], ends)
                continue
            progress = Progress(what)
            begun = asyncio.ensure_future(make(progress))
            self._tasks[key] = begun, progress, whose
            begun.add_done_callback(lambda task: self._forget(key, task))
        task, progress, _ = self._tasks[key]
        await _wait_until(task, progress, ends)
        found: T = task.result()
        return found

    def close(self) -> None:
        """Stop all that is being made."""
        for task, progress, _ in [*self._tasks.values()]:
            task.cancel()
            progress.interrupt()

    def _forget(self, key: object, task: asyncio.Task[Any]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # whoever still waits has it; asyncio would print one that nobody asked for


async def _wait_until(task: asyncio.Task[Any], progress: Progress, ends: float | None) -> None:
    """Wait for a task; PreparingError if it has not ended by then."""
    await asyncio.wait({task}, timeout=None if ends is None else max(0.0, ends - time.monotonic()))
    if not task.done():
        raise PreparingError(progress)
