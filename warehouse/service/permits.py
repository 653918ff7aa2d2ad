"""The agreements of the callers: which hold now, and what was refused or released under them.

The log is read again after two seconds, so that a revoked agreement is refused by then. Of what is released the log has
one event for each caller, scope and kind of answer in an hour, written before the first answer of the hour is sent; the
lines of the log of requests have the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from warehouse.access import log, vocabulary
from warehouse.access.agreements import find_agreement
from warehouse.access.coverage import Cover, Request, cover_request
from warehouse.access.enforcement import find_day, require_in_force
from warehouse.access.programme import read_programme_end
from warehouse.access.switch import is_enforced
from warehouse.access.verdict import Answer
from warehouse.errors import AccessRefusedError, WarehouseError
from warehouse.lake.location import Location
from warehouse.service.scope import Scope
from warehouse.service.tokens import Caller, Rights
from warehouse.settings import Settings

#: How long what was read of the log is believed, in seconds.
_SECONDS = 2.0
#: Before it is no longer believed, whoever asks does so in a thread that can wait for the log.
_EARLY_SECONDS = 0.2
_NEEDED = (
    "This lake lets rows leave only under an agreement, and this token has none. Ask whoever runs the server for one "
    "(chest token add --agreement ID)."
)


class Permits:
    """Which agreements of a lake hold. Safe to use from several threads."""

    def __init__(
        self, place: Location, settings: Settings, read: Callable[[], list[log.Event]], find_commit: Callable[[], int]
    ) -> None:
        """Read the log by `read`, when it is needed and there is a newer commit."""
        self.place, self.settings, self._read = place, settings, read
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._find_commit, self._commit = find_commit, -1
        self._events: list[log.Event] = []
        self._known_until = 0.0
        self._noted: set[tuple[object, ...]] = set()

    @property
    def is_enforced(self) -> bool:
        """Whether the lake enforces agreements."""
        return is_enforced(self._find_events())

    def narrow(self, caller: Caller, scope: Scope) -> Scope:
        """The scope of a request under the caller's agreement; AccessRefusedError, logged, if that does not hold."""
        events = self._find_events()
        if not caller.agreement:
            return replace(scope, cover=None)
        try:
            found = find_agreement(events, caller.agreement, read_programme_end(self.settings))
            require_in_force(found, self.settings.data_use.split(), find_day(events))
            cover = Cover.of(found)
            judged = cover_request(cover, Request(frozenset({scope.group})))
            if judged.answer is not Answer.YES:
                raise AccessRefusedError(judged.reasons[0])
        except AccessRefusedError as error:
            self.note_refusal(caller, error)
            raise
        return replace(scope, cover=cover)

    def narrow_at_once(self, caller: Caller, scope: Scope) -> Scope | None:
        """The same without waiting: None where the log may have to be read, as under an agreement or soon again."""
        is_known = not caller.agreement and time.monotonic() < self._known_until - _EARLY_SECONDS
        return (replace(scope, cover=None) if scope.cover else scope) if is_known else None

    def require(self, caller: Caller, scope: Scope, rights: Rights) -> None:
        """AccessRefusedError, logged, if rows would leave without an agreement that the lake asks for."""
        if scope.cover is None and (caller.agreement or (rights >= Rights.rows and self.is_enforced)):
            error = AccessRefusedError(_NEEDED)
            self.note_refusal(caller, error)
            raise error

    def note_refusal(self, caller: Caller, error: AccessRefusedError) -> None:
        """Log a refusal, once an hour for each caller and reason."""
        if self._is_new("refused", caller.name, str(error)):
            body = {"what": "chest serve", "caller": caller.name, "reason": str(error)}
            self._append(log.NewEvent(vocabulary.REFUSED, caller.agreement, body), is_needed=False)

    def note_release(self, caller: Caller, scope: Scope, rights: Rights, snapshot: int) -> None:
        """Log what is released, once an hour for each caller, scope and right; LakeError if it cannot be."""
        if scope.cover is None or not self._is_new("released", caller.name, scope, rights, snapshot):
            return
        body = {"what": "chest serve", "caller": caller.name, "rights": rights.name, "group": scope.group}
        body |= {"snapshot": str(snapshot), **({"as_of": str(scope.as_of)} if scope.as_of else {})}
        try:
            self._append(log.NewEvent(vocabulary.RELEASED, scope.cover.agreement, body), is_needed=True)
        except BaseException:
            self._noted.clear()  # it has to be logged before the next is
            raise

    def _is_new(self, *what: object) -> bool:
        """Whether this is noted for the first time in this hour."""
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        with self._lock:
            self._noted = {each for each in self._noted if each[0] == hour}
            is_new = (hour, *what) not in self._noted
            self._noted.add((hour, *what))
            return is_new

    def _append(self, event: log.NewEvent, *, is_needed: bool) -> None:
        with self._writing:
            try:
                log.append(self.place, self.settings, event)
            except WarehouseError:
                if is_needed:
                    raise

    def forget(self) -> None:
        """Read the log again for the next request."""
        self._known_until = 0.0

    def _find_events(self) -> list[log.Event]:
        with self._lock:
            if time.monotonic() >= self._known_until:
                if (commit := self._find_commit()) != self._commit:
                    self._events, self._commit = self._read(), commit
                self._known_until = time.monotonic() + _SECONDS
            return self._events
