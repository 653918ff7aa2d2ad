"""Notes in the log of access what callers were refused, and what is released to them under agreements.

An event is a commit to the lake, for which the writer's lock is needed: a refresh may hold it for long, and whoever
commits again and again keeps a refresh from it. So whatever waits is one commit, in one thread that nothing else needs;
and of a caller the log has so many events of a kind in an hour, however many days and groups are asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Hashable
from datetime import UTC, datetime

import anyio

from warehouse.access import log, vocabulary
from warehouse.errors import LakeError, WarehouseError
from warehouse.lake.location import Location
from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights
from warehouse.settings import Settings

#: Events of a kind, refusals or releases, that the log has of a caller in an hour. Of refusals no more are logged; the
#: next release is one of any scope, and stands for all that follow.
MOST_NOTED = 20
#: What stands for each snapshot, day and group in such a release.
ANY = "any"


class Notes:
    """The notes of a server. What is done for the loop is for one event loop alone; `refuse` may be called anywhere."""

    def __init__(self, place: Location, settings: Settings) -> None:
        """Begin with nothing noted."""
        self.place, self.settings = place, settings
        self._lock = threading.Lock()
        self._hour = datetime.min.replace(tzinfo=UTC)
        #: By caller and kind, what was to be noted in this hour; and what the log has of it.
        self._begun: dict[tuple[str, str], set[Hashable]] = {}
        self._noted: set[Hashable] = set()
        self._refused: list[tuple[str, Hashable, log.NewEvent]] = []
        self._waiting: list[tuple[log.NewEvent, asyncio.Future[None]]] = []
        self._writing: dict[Hashable, asyncio.Task[None]] = {}
        self._batches: asyncio.Task[None] | None = None
        self._limiter: anyio.CapacityLimiter | None = None

    def refuse(self, caller: Caller, reason: str) -> None:
        """Remember that a caller was refused something, for `write_refusals`; each reason once an hour."""
        key = (caller.name, caller.agreement, reason)
        with self._lock:
            if self._begin(caller, "refused", key):
                body = {"what": "chest serve", "caller": caller.name, "reason": reason}
                event = log.NewEvent(vocabulary.REFUSED, caller.agreement, body)
                self._refused.append((caller.name, key, event))

    async def write_refusals(self, caller: Caller) -> None:
        """Log what a caller was refused, before they are told; if it cannot be logged, it is refused all the same."""
        if not self._refused:
            return
        with self._lock:
            mine = [(key, event) for name, key, event in self._refused if name == caller.name]
            self._refused = [each for each in self._refused if each[0] != caller.name]
        for key, event in mine:
            try:
                await self._write_once(key, event)
            except WarehouseError:
                with self._lock:  # the next such refusal is noted
                    self._begun.get((caller.name, "refused"), set()).discard(key)

    async def release(self, caller: Caller, scope: Scope, rights: Rights, snapshot: int, group: str) -> None:
        """Log that rows are released, unless the log has it for this hour; LakeError if it cannot be logged.

        Returns when the log has it: whoever asks for the same meanwhile waits as well. `group` is its name there.
        """
        assert scope.cover
        same = (caller.name, scope.cover.agreement, rights)
        key: Hashable = (*same, group, scope.as_of, snapshot)
        body: dict[str, object] = {"what": "chest serve", "caller": caller.name, "rights": rights.name}
        with self._lock:
            self._begin_hour()
            if {key, (*same, ANY)} & self._noted:
                return
            if self._begin(caller, "released", key, again=True):
                body |= {"group": group, "snapshot": str(snapshot)}
                body |= {"as_of": str(scope.as_of)} if scope.as_of else {}
            else:
                key = (*same, ANY)
                body |= {"group": ANY, "snapshot": ANY, "as_of": ANY}
        await self._write_once(key, log.NewEvent(vocabulary.RELEASED, scope.cover.agreement, body))

    def _begin(self, caller: Caller, kind: str, key: Hashable, *, again: bool = False) -> bool:
        """Whether an event of a caller is to be logged, within the lock: if it is new, or `again`, and not too many."""
        self._begin_hour()
        begun = self._begun.setdefault((caller.name, kind), set())
        if key in begun:
            return again
        if len(begun) >= MOST_NOTED:
            return False
        begun.add(key)
        return True

    def _begin_hour(self) -> None:
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._hour, self._begun, self._noted = hour, {}, set()

    async def _write_once(self, key: Hashable, event: log.NewEvent) -> None:
        """Log an event, or wait for the same one that is being logged; LakeError if it cannot be."""
        if (task := self._writing.get(key)) is None:
            hour = self._hour
            task = self._writing[key] = asyncio.ensure_future(self._write(event))

            def end(task: asyncio.Task[None]) -> None:
                del self._writing[key]
                if not task.cancelled() and task.exception() is None:
                    with self._lock:
                        if hour == self._hour:
                            self._noted.add(key)

            task.add_done_callback(end)
        await asyncio.shield(task)  # it is logged although who asked first has gone

    async def _write(self, event: log.NewEvent) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        if self._batches is None or self._batches.done():
            self._batches = asyncio.ensure_future(self._write_batches())
        await done

    async def _write_batches(self) -> None:
        """Log what waits, all of it in one commit, until nothing waits."""
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                await anyio.to_thread.run_sync(self._append, [event for event, _ in batch], limiter=self._limiter)
            except Exception as raised:
                error = raised
            for _, done in batch:
                with contextlib.suppress(asyncio.InvalidStateError):  # nobody waits any more
                    done.set_exception(error) if error else done.set_result(None)

    def _append(self, events: list[log.NewEvent]) -> None:
        try:
            log.append(self.place, self.settings, *events)
        except LakeError:
            raise
        except WarehouseError:  # a text that cannot be stored, for which the others are not to blame
            if len(events) == 1:
                raise
            for event in events:
                self._append([event])
