"""The service: the lake kept open, who may ask what of it, and the questions. Every adapter asks through this."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import anyio

from warehouse.access import log
from warehouse.cohorts.parameters import NAMING
from warehouse.engine.names import fold_name
from warehouse.errors import AccessRefusedError, CountFailedError, WarehouseError
from warehouse.object_store.keys import GROUPS
from warehouse.query.session import ALL_GROUPS
from warehouse.service.differencing import Memory
from warehouse.service.noting import Notes
from warehouse.service.permits import Permits
from warehouse.service.preparing import Preparing
from warehouse.service.questions import Answer, Question
from warehouse.service.readers import Readers
from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights
from warehouse.service.workers import Workers
from warehouse.settings import SUPPRESS, Settings, require_base

T = TypeVar("T")

#: The rights that a kind of question needs.
_NEEDS = {
    "sql": Rights.rows,
    "rows": Rights.rows,
    "members": Rights.rows,
    "manifest": Rights.rows,
    "counts": Rights.counts,
    "attrition": Rights.counts,
    "table1": Rights.counts,
}


#: What the log of access has of a query that names what an agreement does not cover: not what it names, since that may
#: be anything.
_NOT_COVERED = "The query asks for what the agreement does not cover."


class ForbiddenError(WarehouseError):
    """The caller has not the right to ask this."""


class OverloadedError(WarehouseError):
    """Too many requests wait; a later one may be answered."""

    heals = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service allows: rows and bytes of an answer, seconds of a question, and requests that run or wait at
    the same time, of all and of one caller; and bytes of answers that one caller has not read yet. For what is still
    being read a page waits `page_patience` seconds, a search `search_patience`; then either reports it."""

    most_rows: int = 10_000
    most_bytes: int = 64_000_000
    seconds: float = 60.0
    readers: int = 8
    most_waiting: int = 400
    most_of_caller: int = 300
    most_unread: int = 512_000_000
    page_patience: float = 1.5
    search_patience: float = 20.0


#: The newest snapshot, with no as-of date; and the limits where none are given.
EVERYTHING, DEFAULT_LIMITS = Scope(), Limits()


class Service:
    """The lake as a service, for one base scope: nothing is shown that it does not show."""

    def __init__(
        self,
        lake: str,
        settings: Settings,
        base: Scope = EVERYTHING,
        *,
        limits: Limits = DEFAULT_LIMITS,
        suppress: int = SUPPRESS,
        processes: int = 0,
    ) -> None:
        """Open the lake; LakeError if it cannot be opened, UsageError for a scope that does not exist."""
        self.settings, self.base, self.limits, self.suppress = settings, base, limits, suppress
        self.readers = Readers(lake, settings, pinned=base.snapshot)
        with self.readers.read(base):
            pass
        self.workers = Workers(lake, settings, processes, seconds=limits.seconds)
        self.memory, self.preparing = Memory(), Preparing()
        self.notes = Notes(self.readers.location, settings)
        self.permits = Permits(settings, self.notes, self._read_log, self.readers.find_newest_commit, self.name_group)
        #: What adapters can read before anybody asks.
        self.preparations: list[Callable[[], Awaitable[object]]] = []
        self._limiters: dict[str, anyio.CapacityLimiter] = {}
        self._waiting: Counter[str] = Counter()

    def _read_log(self) -> list[log.Event]:
        """The log as it is now, by a new connection: those that are open may have an older catalogue."""
        return log.read_events(self.readers.location, self.settings)

    def require(self, caller: Caller, scope: Scope, rights: Rights) -> None:
        """ForbiddenError unless the caller has the rights and may see the group of the scope."""
        if caller.rights < rights:
            raise ForbiddenError(f"This needs the right to {rights.name}; yours is to {caller.rights.name}.")
        if not caller.may_see(scope.group):
            raise ForbiddenError(f"Group {scope.group!r} is not among yours: {', '.join(caller.groups)}.")
        self.permits.require(caller, scope, rights)

    def require_counts(self, caller: Caller, scope: Scope, base: int) -> None:
        """The same for counts that are rounded to a base: where agreements are enforced, exact ones are as good as
        rows."""
        self.require(caller, scope, Rights.counts if base or not self.permits.is_enforced else Rights.rows)

    def narrow(self, caller: Caller) -> Caller:
        """The caller with the rights that hold now: to counts alone, whatever the token has, where the lake lets rows
        leave only under an agreement, and the token has none."""
        is_without = not caller.agreement and caller.rights > Rights.counts and self.permits.is_enforced
        return replace(caller, rights=Rights.counts) if is_without else caller

    async def permit(self, caller: Caller, scope: Scope) -> Scope:
        """The scope of a request under the caller's agreement, if there is one: asked for each request, by the gate.

        AccessRefusedError if the agreement does not hold any more, or does not cover the group. Most requests need not
        read the log, and a thread would cost them as much as a short answer does; so it is with `resolve`.
        """
        if (known := self.permits.narrow_at_once(caller, scope)) is not None:
            return known
        return await anyio.to_thread.run_sync(self.permits.narrow, caller, scope, limiter=self._limit("permit", 4))

    async def read(
        self,
        caller: Caller,
        scope: Scope,
        rights: Rights,
        do: Callable[..., T],
        *given: Any,
        snapshot: int | None = None,
        **more: Any,
    ) -> T:
        """Call `do(warehouse, …)` with a session of the scope, in a thread; for our own SQL.

        ForbiddenError as in `require`, OverloadedError when too many wait.
        """
        self.require(caller, scope, rights)
        await self._note_release(caller, scope, rights, snapshot)

        def run() -> T:
            with self.readers.read(scope, snapshot) as warehouse:
                return do(warehouse, *given, **more)

        async with self._queue(caller), self._take_turn(caller, "read", self.limits.readers - 2):
            return await anyio.to_thread.run_sync(run, limiter=self._limit("read", self.limits.readers))

    async def resolve(self, scope: Scope) -> int:
        """The number of the snapshot that a scope means now; it waits for no question of others."""
        if (known := self.readers.find_snapshot_at_once(scope)) is not None:
            return known
        return await anyio.to_thread.run_sync(self.readers.find_snapshot, scope, limiter=self._limit("resolve", 4))

    def find_time(self, number: int) -> datetime | None:
        """The time of a snapshot that `resolve` returned; None if the server's own day is before it, or it is gone."""
        return self.show_time(self.readers.find_time(number))

    def show_time(self, time: datetime | None) -> datetime | None:
        """The time of a snapshot, unless the server shows the lake as of an earlier day."""
        return None if time and self.base.as_of and time.date() > self.base.as_of else time

    async def call(self, caller: Caller, do: Callable[..., T], *given: Any, **more: Any) -> T:
        """Call a function that blocks for a caller, in a thread of its own; OverloadedError when too many wait."""
        async with self._queue(caller), self._take_turn(caller, "call", self.limits.readers - 2):
            limiter = self._limit("call", self.limits.readers)
            return await anyio.to_thread.run_sync(functools.partial(do, *given, **more), limiter=limiter)

    async def ask(self, caller: Caller, question: Question, *, is_ours: bool = False) -> Answer:
        """Answer a question in a worker process; counts are checked against what the caller was shown before.

        `is_ours`: the SQL among the arguments was built here from what the caller chose, and is not the caller's own.

        ForbiddenError, OverloadedError, DifferenceError, or what the question itself raises.
        """
        needed, given = _NEEDS[question.kind], dict(question.arguments)
        if given.get("sql") and not is_ours:
            # An error or its absence answers yes or no, exactly: SQL of one's own is for those who may see rows.
            needed = max(needed, Rights.rows)
        given["suppress"] = self.find_base(caller, given.get("suppress"))
        if any(fold_name(str(name)) in NAMING for name in given.get("parameters") or ()):
            needed = max(needed, Rights.rows)  # a count of patients who were named is a fact about each of them
        self.require(caller, question.scope, needed)
        self.require_counts(caller, question.scope, given["suppress"])
        await self._note_release(caller, question.scope, needed, question.snapshot)
        given["most_rows"] = min(int(given.get("most_rows") or self.limits.most_rows), self.limits.most_rows)
        given["most_bytes"] = min(int(given.get("most_bytes") or self.limits.most_bytes), self.limits.most_bytes)
        given["digests"] = is_remembered = self.is_remembered(caller, given["suppress"])
        async with self._queue(caller), self._take_turn(caller, "ask", self.workers.count - 1):
            try:
                answer = await self.workers.ask(replace(question, arguments=given))
            except CountFailedError as error:
                raise self.memory.refuse(caller.remembered_as, str(error)) from None
            except AccessRefusedError:
                self.notes.refuse(caller, _NOT_COVERED)
                raise
        if is_remembered:
            await self.call(caller, self.memory.admit, caller.remembered_as, answer.patients, given["suppress"])
        return replace(answer, patients={})

    async def _note_release(self, caller: Caller, scope: Scope, rights: Rights, snapshot: int | None) -> None:
        """Log that rows are released under an agreement, before they are."""
        if scope.cover and rights >= Rights.rows:
            number = await self.resolve(scope) if snapshot is None else snapshot
            await self.notes.release(caller, scope, rights, number, str(self.name_group(scope)))

    def is_remembered(self, caller: Caller, base: int) -> bool:
        """Whether counts that a caller is shown are compared with earlier ones: who may see rows needs no counts."""
        return self.narrow(caller).rights == Rights.counts and base > 0

    def find_base(self, caller: Caller, wanted: int | None) -> int:
        """The base of rounding that a caller wants; ForbiddenError for another than the server's without right to rows.

        A larger base is refused too: one number rounded to 5, to 6, to 7 … is exact.
        """
        if wanted is None or wanted == self.suppress:
            return self.suppress
        require_base(wanted)
        if caller.rights < Rights.rows:
            raise ForbiddenError(f"Counts are rounded to {self.suppress}; another base needs the right to rows.")
        if not caller.agreement:
            self.permits.require(caller, self.base, Rights.rows)
        return wanted

    @contextlib.asynccontextmanager
    async def _queue(self, caller: Caller) -> AsyncIterator[None]:
        """Count a request that runs or waits; OverloadedError if there are too many, of all or of this caller."""
        name = caller.name
        if self._waiting[name] >= self.limits.most_of_caller or self._waiting.total() >= self.limits.most_waiting:
            raise OverloadedError("Too many requests at the same time. Try again in a few seconds.")
        self._waiting[name] += 1
        try:
            yield
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]

    @contextlib.asynccontextmanager
    async def _take_turn(self, caller: Caller, kind: str, most: int) -> AsyncIterator[None]:
        """Wait until a caller has fewer than `most` requests of a kind that run: something is left for the others."""
        async with self._limit(f"{kind} {caller.name}", max(1, most)):
            yield

    def _limit(self, name: str, most: int) -> anyio.CapacityLimiter:
        """The limiter of a name. It belongs to the event loop that runs, so it is made when it is needed."""
        if name not in self._limiters:
            self._limiters[name] = anyio.CapacityLimiter(most)
        return self._limiters[name]

    def name_group(self, scope: Scope | None) -> str | None:
        """The group of a scope for the log: not a text that somebody made up, since that may be anything."""
        group = scope.group if scope else None
        return group if group in (None, self.base.group, *GROUPS, ALL_GROUPS) else "another"

    def close(self) -> None:
        """Close the lake and end the workers."""
        self.workers.close()
        self.readers.close()
