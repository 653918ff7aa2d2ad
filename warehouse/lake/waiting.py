"""Opens a lake for a commit that publishes nothing (a manifest, an event of access), waiting for another writer."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Iterator

import duckdb

from warehouse.errors import LakeBusyError
from warehouse.lake import store
from warehouse.lake.location import Location
from warehouse.settings import Settings

#: How long to wait for another writer, in seconds; as long as DuckLake waits for the catalogue (lake/connection.py).
SECONDS = 30.0
#: Messages of the operating system, SQLite, PostgreSQL and S3 for read-only access.
_NO_RIGHT = re.compile(
    r"permission denied|operation not permitted|read-?only (?:file ?system|database|transaction)|must be owner of"
    r"|AccessDenied|HTTP 403|Forbidden",
    re.IGNORECASE,
)


@contextlib.contextmanager
def open_writer(place: Location, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an existing lake for writing; LakeBusyError if another process writes longer than SECONDS."""
    with contextlib.ExitStack() as held:
        yield _wait_for_lock(held, place, settings)


def is_right_missing(reason: str) -> bool:
    """Whether a lake could not be written for lack of the right to write, and not for another reason."""
    return _NO_RIGHT.search(reason) is not None


def _wait_for_lock(held: contextlib.ExitStack, place: Location, settings: Settings) -> duckdb.DuckDBPyConnection:
    ends = time.monotonic() + SECONDS
    for attempt in itertools.count():
        try:
            return held.enter_context(store.open_writer(place, settings, make=False))
        except LakeBusyError:
            if time.monotonic() >= ends:
                raise
            store.wait_briefly(attempt)
    raise AssertionError("unreachable")
