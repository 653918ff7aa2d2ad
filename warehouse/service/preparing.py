"""What takes long to make (an index, the facets) is made once, in the background; whoever waits sees how far it is.

It goes on when who asked first has gone away, and is there for the next.
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
        self._tasks: dict[object, tuple[asyncio.Task[Any], Progress]] = {}

    async def wait(
        self, key: object, what: str, make: Callable[[Progress], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """Wait for what `make` makes, which is begun unless it is being made; PreparingError after some seconds."""
        if key not in self._tasks:
            progress = Progress(what)
            begun = asyncio.ensure_future(make(progress))
            self._tasks[key] = begun, progress
            begun.add_done_callback(lambda task: self._forget(key, task))
        task, progress = self._tasks[key]
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise PreparingError(progress)
        found: T = task.result()
        return found

    def close(self) -> None:
        """Stop all that is being made."""
        for task, progress in [*self._tasks.values()]:
            task.cancel()
            progress.interrupt()

    def _forget(self, key: object, task: asyncio.Task[Any]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # whoever still waits has it; asyncio would print one that nobody asked for
