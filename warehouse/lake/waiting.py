"""Opens a lake for a short write, waiting while another process writes to it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from warehouse.errors import LakeBusyError
from warehouse.lake import store

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.settings import Settings

#: How long to wait for another writer, in seconds; as long as DuckLake waits for the catalogue (lake/connection.py).
WAIT_SECONDS = 30.0


@contextlib.contextmanager
def open_waiting_writer(location: Location, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an existing lake for writing; LakeBusyError if another process writes longer than WAIT_SECONDS."""
    ends = time.monotonic() + WAIT_SECONDS
    with contextlib.ExitStack() as held:
        for attempt in itertools.count():
            try:
                con = held.enter_context(store.open_writer(location, settings, make=False))
                break
            except LakeBusyError:
                if time.monotonic() >= ends:
                    raise
                store.wait_briefly(attempt)
        yield con
