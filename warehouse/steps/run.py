"""What the four steps of a refresh share: the open lake, the bucket, the limits, and how to report progress."""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import duckdb

from warehouse import lake
from warehouse.bucket import Bucket
from warehouse.settings import Settings

T = TypeVar("T")

#: Called with the step, what is done and the total (0: not known yet).
Progress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Run:
    """One refresh of one source. `prefix` limits all its steps to the keys that start with it."""

    con: duckdb.DuckDBPyConnection
    bucket: Bucket
    settings: Settings
    prefix: str = ""
    refresh_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    progress: Progress = silent

    def commit(self, step: str, work: Callable[[], T], **counts: int) -> T:
        """Do work in one transaction that carries this refresh, the step and its counts."""
        return lake.transact(
            self.con,
            f"refresh {self.refresh_id}: {step}",
            work,
            refresh=self.refresh_id,
            source=self.bucket.source,
            step=step,
            **counts,
        )

    @contextlib.contextmanager
    def all_cores(self) -> Iterator[None]:
        """Take the core that a writer leaves to the threads that fetch and extract, while there are none."""
        row = self.con.execute("select current_setting('threads')").fetchone()
        assert row is not None
        self.con.execute(f"set threads = {self.settings.threads or os.cpu_count() or 1}")
        try:
            yield
        finally:
            self.con.execute(f"set threads = {row[0]}")
