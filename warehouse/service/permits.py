"""The agreements of the callers: which hold now, and what was refused or released under them.

The log is read again after two seconds, so that a revoked agreement is refused by then. What it has of refusals and
releases is written by `noting`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from warehouse.access import log
from warehouse.access.agreements import find_agreement
from warehouse.access.coverage import Cover, Request, cover_request
from warehouse.access.enforcement import find_day, require_in_force
from warehouse.access.programme import read_programme_end
from warehouse.access.switch import is_enforced
from warehouse.access.verdict import Answer
from warehouse.errors import AccessRefusedError
from warehouse.service.noting import Notes
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
        self,
        settings: Settings,
        notes: Notes,
        read: Callable[[], list[log.Event]],
        find_commit: Callable[[], int],
        name_group: Callable[[Scope], str | None],
    ) -> None:
        """Read the log by `read`, when it is needed and there is a newer commit; `name_group` names a group there."""
        self.settings, self.notes, self._read = settings, notes, read
        self._lock = threading.Lock()
        self._find_commit, self._commit = find_commit, -1
        self._name_group = name_group
        self._events: list[log.Event] = []
        self._known_until = 0.0

    @property
    def is_enforced(self) -> bool:
        """Whether the lake enforces agreements, as the gate has found for the request; it waits for nothing."""
        return is_enforced(self._events if self._commit >= 0 else self._find_events())

    def narrow(self, caller: Caller, scope: Scope) -> Scope:
        """The scope of a request under the caller's agreement; AccessRefusedError, which is noted, if that does not
        hold."""
        events = self._find_events()
        if not caller.agreement:
            return replace(scope, cover=None)
        try:
            found = find_agreement(events, caller.agreement, read_programme_end(self.settings))
            require_in_force(found, self.settings.data_use.split(), find_day(events))
            cover = Cover.of(found)
            judged = cover_request(cover, Request(frozenset({scope.group})))
        except AccessRefusedError as error:
            self.notes.refuse(caller, str(error))
            raise
        if judged.answer is not Answer.YES:
            # What somebody made up, which may be the name of a patient, does not stay in the log.
            shown = Request(frozenset({str(self._name_group(scope))}))
            self.notes.refuse(caller, cover_request(cover, shown).reasons[0])
            raise AccessRefusedError(judged.reasons[0])
        return replace(scope, cover=cover)

    def narrow_at_once(self, caller: Caller, scope: Scope) -> Scope | None:
        """The same without waiting: None where the log may have to be read, as under an agreement or soon again."""
        is_known = not caller.agreement and time.monotonic() < self._known_until - _EARLY_SECONDS
        return (replace(scope, cover=None) if scope.cover else scope) if is_known else None

    def require(self, caller: Caller, scope: Scope, rights: Rights) -> None:
        """AccessRefusedError if rows would leave without an agreement that the lake asks for; it is noted."""
        if scope.cover is None and (caller.agreement or (rights >= Rights.rows and self.is_enforced)):
            self.notes.refuse(caller, _NEEDED)
            raise AccessRefusedError(_NEEDED)

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
