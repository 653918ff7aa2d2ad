"""The context that the four steps of a refresh share: the open lake, the source and its bucket, limits, progress."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import duckdb

from warehouse.engine.rows import fetch_first
from warehouse.ingest.scope import Scope
from warehouse.lake import store
from warehouse.lake.location import Location
from warehouse.object_store.base import Bucket
from warehouse.object_store.layouts import Layout
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.ingest.units.unit import Workers

T = TypeVar("T")


def make_id() -> str:
    """Create the id of a refresh."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, slots=True)
class Run:
    """One refresh of one source. `scope` limits all its steps to a part of the keys."""

    con: duckdb.DuckDBPyConnection
    source: str
    settings: Settings
    scope: Scope = field(default_factory=Scope)
    refresh_id: str = field(default_factory=make_id)
    progress: Progress = ignore_progress
    place: Location = field(kw_only=True)

    def within(self, key: str) -> str:
        """SQL that tests whether a key is in the run's scope; its parameters are `scope.parameters`."""
        return self.scope.render_within(key)

    def commit(self, step: str, work: Callable[[], T], **counts: int) -> T:
        """Do work in one transaction, recorded with this refresh, the step and its counts."""
        return store.transact(
            self.con,
            f"refresh {self.refresh_id}: {step}",
            work,
            refresh=self.refresh_id,
            source=self.source,
            step=step,
            **counts,
        )

    @contextlib.contextmanager
    def all_cores(self) -> Iterator[None]:
        """Use all cores in DuckDB while no threads fetch and extract, for which a writer leaves one free."""
        row = fetch_first(self.con.execute("select current_setting('threads')"))
        assert row is not None
        self.con.execute(f"set threads = {self.settings.threads or os.cpu_count() or 1}")
        try:
            yield
        finally:
            self.con.execute(f"set threads = {row[0]}")


@dataclass(slots=True)
class Kept:
    """What is kept from one step to the next, until the run ends: workers, and what was read of the lake."""

    workers: Workers | None = None
    #: The layout that the lake remembers of the source, which nobody else changes meanwhile.
    known_layout: Layout = field(default_factory=Layout)

    def close(self) -> None:
        """End the workers."""
        if self.workers:
            self.workers.close()


@dataclass(frozen=True, slots=True)
class BucketRun(Run):
    """A run with its bucket opened, for the steps that list and read it."""

    bucket: Bucket = field(kw_only=True)
    layout: Layout = field(default_factory=Layout, kw_only=True)
    kept: Kept = field(default_factory=Kept, kw_only=True)

    @property
    def is_new_layout(self) -> bool:
        """Whether the lake remembers another layout of the source, or none."""
        return self.kept.known_layout != self.layout
