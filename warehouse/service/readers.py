"""Keeps a lake open for reading: sessions by scope, ready for the next request, of the snapshot that is asked for.

A request is answered from one snapshot. The next request after a publish sees the new one. Opening a lake takes a third
of a second and a session for another day some milliseconds, so both are kept for a while.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from warehouse.api import Warehouse
from warehouse.engine.faults import explain_faults
from warehouse.errors import LakeBusyError
from warehouse.lake import connection, store
from warehouse.lake.location import Location, parse_address
from warehouse.object_store.keys import GROUPS
from warehouse.query.session import ALL_GROUPS, attach_as
from warehouse.service.scope import Scope
from warehouse.settings import Settings
from warehouse.withdrawal import standing_list

#: Snapshots that are kept open; each has a DuckDB of its own, whose memory is given back when it is closed.
_MOST_SNAPSHOTS = 3
#: Scopes with idle sessions, and idle sessions a scope.
_MOST_SCOPES = 32
_MOST_IDLE = 8
#: Attempts to open a lake at the standing list of withdrawn patients as it is.
_TRIES = 8


@dataclass(slots=True)
class _Opened:
    """A snapshot that is open, how many requests use it, and its idle sessions by scope."""

    root: Warehouse
    used: int = 0
    is_retired: bool = False
    idle: OrderedDict[Scope, deque[Warehouse]] = field(default_factory=OrderedDict)


class Readers:
    """A lake kept open. Safe to use from several threads."""

    def __init__(self, lake: str, settings: Settings, *, pinned: int | None = None) -> None:
        """Open the lake at its newest published snapshot; LakeError as in `attach_as`.

        `pinned` stays open, or else the newest published: what others ask of older ones does not close it.
        """
        self.settings, self._pinned = settings, pinned
        self.lake = lake or settings.lake
        self.location: Location = parse_address(self.lake)
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._opened: OrderedDict[int, _Opened] = OrderedDict()
        self._newest = _Newest(self.location, settings)
        self._version = 0  # of the standing list that the snapshots were opened with
        with self.read(Scope()):
            pass

    def find_snapshot(self, scope: Scope) -> int:
        """The number of the snapshot that a scope means now: its own, or the newest published.

        Either way the standing list is looked at: what is kept of a snapshot is kept with the version of the list.
        """
        if scope.snapshot is None:
            return self._newest.find()
        self._newest.list_all()
        return scope.snapshot

    def find_snapshot_at_once(self, scope: Scope) -> int | None:
        """The same without waiting: None where the catalogue has to be asked."""
        newest = self._newest.find_at_once()
        return newest if newest is None or scope.snapshot is None else scope.snapshot

    def find_newest_commit(self) -> int:
        """The number of the newest snapshot of all, which may only have an event of the log."""
        return self._newest.list_all()[-1].number

    def find_time(self, number: int) -> datetime | None:
        """The time of a snapshot that `find_snapshot` returned; None if it does not exist. Asks nothing."""
        return self._newest.find_time(number)

    def list_snapshots(self) -> list[store.Snapshot]:
        """The published snapshots that the lake still has, oldest first."""
        return [each for each in self._newest.list_all() if each.is_published]

    @contextlib.contextmanager
    def read(self, scope: Scope, snapshot: int | None = None) -> Iterator[Warehouse]:
        """A session of a scope for a `with` block, used by no other thread meanwhile.

        `snapshot` is what `find_snapshot` returned, if it was asked before. UsageError for a snapshot or a group that
        does not exist.
        """
        opened = self._hold(self.find_snapshot(scope) if snapshot is None else snapshot)
        key = Scope(as_of=scope.as_of, group=scope.group, cover=scope.cover)
        try:
            session = self._take(opened, key)
            try:
                yield session
            except BaseException:
                session.close()  # whatever state it is in
                raise
            self._give_back(opened, key, session)
        finally:
            self._release(opened)

    def close(self) -> None:
        """Close everything; sessions in use stay open until they are given back."""
        with self._lock:
            for number in [*self._opened]:
                self._retire(number)
        self._newest.close()

    @property
    def list_version(self) -> int:
        """The version of the standing list of withdrawn patients that `find_snapshot` last saw. Asks nothing."""
        return self._newest.list_version

    def _close_older(self) -> None:
        """Close every snapshot that was opened before the standing list of withdrawn patients changed."""
        self._newest.list_all()
        version = self._newest.list_version
        with self._lock:
            if version != self._version:
                for number in [*self._opened]:
                    self._retire(number)
                self._version = version

    def _open(self, number: int) -> Warehouse:
        """Open a snapshot with the standing list as it is: a copy of the catalogue may be of a moment before."""
        for attempt in range(_TRIES):
            root = attach_as(Warehouse, self.lake, snapshot=number, settings=self.settings)
            if root.standing_list >= self._version:
                return root
            root.close()
            store.wait_briefly(attempt)
        raise LakeBusyError(f"The lake {self.location.name} is being written to. Ask again in a moment.")

    def _hold(self, number: int) -> _Opened:
        self._close_older()
        with self._lock:
            if found := self._opened.get(number):
                self._opened.move_to_end(number)
                found.used += 1
                return found
        with self._opening:  # one at a time: the others find it open
            with self._lock:
                if found := self._opened.get(number):
                    found.used += 1
                    return found
            root = self._open(number)
            with self._lock:
                found = self._opened[number] = _Opened(root, used=1)
                while len(self._opened) > _MOST_SNAPSHOTS:
                    stays = self._newest.published if self._pinned is None else self._pinned
                    self._retire(next(each for each in self._opened if each not in (stays, number)))
                return found

    def _take(self, opened: _Opened, key: Scope) -> Warehouse:
        with self._lock:
            if (waiting := opened.idle.get(key)) and waiting:
                opened.idle.move_to_end(key)
                return waiting.pop()
        root = opened.root
        if key.group not in (*GROUPS, ALL_GROUPS):  # a query, for which the root is shared by too many
            with contextlib.closing(root.cursor()) as own:
                own.require_group(key.group)
        # Of the root itself: DuckDB closes a connection with the one that it came from.
        return root.narrow(key.as_of, key.group, key.cover)

    def _give_back(self, opened: _Opened, key: Scope, session: Warehouse) -> None:
        surplus: list[Warehouse] = []
        with self._lock:
            waiting = opened.idle.setdefault(key, deque())
            (surplus if opened.is_retired or len(waiting) >= _MOST_IDLE else waiting).append(session)
            while len(opened.idle) > _MOST_SCOPES:
                surplus += opened.idle.popitem(last=False)[1]
        for each in surplus:
            each.close()

    def _release(self, opened: _Opened) -> None:
        with self._lock:
            opened.used -= 1
            if opened.is_retired and not opened.used:
                opened.root.close()

    def _retire(self, number: int) -> None:
        """Close a snapshot as soon as nobody uses it; within the lock."""
        opened = self._opened.pop(number)
        opened.is_retired = True
        for waiting in opened.idle.values():
            for session in waiting:
                session.close()
        opened.idle.clear()
        if not opened.used:
            opened.root.close()


class _Newest:
    """Knows the published snapshots of a lake; asks its catalogue only where that may have changed."""

    def __init__(self, location: Location, settings: Settings) -> None:
        self.location, self.settings = location, settings
        self._lock = threading.Lock()
        self._con: Any = None
        self._stamp: object = None
        self._history: list[store.Snapshot] = []
        self._published: int | None = None
        self._list_version = 0

    def find(self) -> int:
        return store.find_published(self.list_all(), None, self.location).number

    def find_at_once(self) -> int | None:
        """The newest published, if the catalogue's file shows that nothing was committed, and nobody asks just now."""
        if self._stamp is None or not self._lock.acquire(blocking=False):
            return None
        try:
            return self._published if self._read_stamp() == self._stamp else None
        finally:
            self._lock.release()

    def find_time(self, number: int) -> datetime | None:
        return next((each.time for each in self._history if each.number == number), None)

    @property
    def published(self) -> int | None:
        return self._published

    @property
    def list_version(self) -> int:
        return self._list_version

    @explain_faults()
    def list_all(self) -> list[store.Snapshot]:
        with self._lock:
            stamp = self._read_stamp()
            if stamp is None or stamp != self._stamp:
                self._history = history = self._ask()
                self._published = next((each.number for each in reversed(history) if each.is_published), None)
                self._list_version = standing_list.find_version(history)
                self._stamp = stamp
            return self._history

    def _ask(self) -> list[store.Snapshot]:
        store.require(self.location)
        try:
            with store.explain_errors(self.location):
                if self._con is None:
                    self._con = connection.connect(self.settings, self.location)
                    connection.attach(self._con, self.location, "read_only")
                return store.list_snapshots(self._con)
        except BaseException:
            self.close()  # a server that was lost is found again by the next request
            raise

    def _read_stamp(self) -> object:
        """What changes with every commit to the catalogue's file; None where only asking shows it (PostgreSQL)."""
        if self.location.is_postgres:
            return None
        found = []
        for path in (self.location.catalogue, self.location.catalogue.with_name(f"{self.location.catalogue.name}-wal")):
            try:
                facts = path.stat()
                found.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)

    def close(self) -> None:
        if self._con is not None:
            self._con.close()
            self._con = None
