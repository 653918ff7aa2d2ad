"""Agreements: what was granted to whom, for what and until when, read from the events of the log.

An agreement is made by the event application.event/approved, whose body has all of its terms: what was granted, which
may be less than what was applied for. agreement.event/renewed changes its end; revoked and closed end it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any, Literal

from warehouse.access import vocabulary
from warehouse.access.log import Event
from warehouse.access.odd_events import explain_odd_events
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError

State = Literal["not started", "active", "expired", "revoked", "closed"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement: its terms, and `state`, that of its application (approved, revoked or closed).

    `groups`, `modalities`, `centres` and `fields` are what it covers; no centre means every centre, no modality no
    image of any, no field no column of clinical data. `starts` and `ends` are days (UTC), both included.
    """

    id: str
    applicant: str
    orcid: str
    organisation: str
    team: tuple[str, ...]
    title: str
    purpose: str
    duo: tuple[str, ...]
    mondo: tuple[str, ...]
    groups: tuple[str, ...]
    modalities: tuple[str, ...]
    centres: tuple[str, ...]
    fields: tuple[str, ...]
    starts: date
    ends: date
    output: str
    state: str = "approved"
    #: When it was revoked or closed; None while it is approved.
    ended: date | None = None

    def state_on(self, day: date) -> State:
        """The state on a day: not started, active, expired, revoked or closed."""
        if self.ended and day >= self.ended:
            return "revoked" if self.state == "revoked" else "closed"
        if day < self.starts:
            return "not started"
        return "active" if day <= self.ends else "expired"

    @classmethod
    def list_terms(cls) -> tuple[str, ...]:
        """The names of its terms, which are fields of the request too."""
        return _TERMS

    def to_terms(self) -> dict[str, Any]:
        """The terms as JSON values: the body of the event that makes the agreement."""
        terms = {name: getattr(self, name) for name in _TERMS}
        return {
            name: value.isoformat() if isinstance(value, date) else list(value) if isinstance(value, tuple) else value
            for name, value in terms.items()
        }


#: The fields of an agreement that are in the body of its event: all but those that follow from events.
_TERMS = tuple(one.name for one in fields(Agreement) if one.name not in ("id", "state", "ended"))
_DAYS = ("starts", "ends")
_LISTS = ("team", "duo", "mondo", "groups", "modalities", "centres", "fields")


@explain_odd_events()
def list_agreements(events: Sequence[Event], programme_end: date | None = None) -> dict[str, Agreement]:
    """Every agreement that was ever made, by ID, as it is after these events.

    None lasts beyond the end of the programme, even if that was a later day when it was made (programme.py).
    """
    found: dict[str, Agreement] = {}
    for event in events:
        if event.event == vocabulary.APPROVED:
            found[event.about] = _read_terms(event)
        elif event.about not in found:
            continue
        elif event.event == vocabulary.RENEWED:
            found[event.about] = replace(found[event.about], ends=date.fromisoformat(event.body["ends"]))
        elif event.event in (vocabulary.REVOKED, vocabulary.CLOSED):
            state = vocabulary.STATES[event.event]
            found[event.about] = replace(found[event.about], state=state, ended=event.at.date())
    if programme_end:
        return {name: replace(one, ends=min(one.ends, programme_end)) for name, one in found.items()}
    return found


def find_agreement(events: Sequence[Event], name: str, programme_end: date | None = None) -> Agreement:
    """Find an agreement by its ID; UsageError, with near names, if there is none, or its application is undecided."""
    known = list_agreements(events, programme_end)
    if name in known:
        return known[name]
    if any(event.about == name and event.event == vocabulary.SUBMITTED for event in events):
        raise UsageError(
            f"Application {name} has no agreement: access was not granted. See its state:  chest access show {name}"
        )
    raise UsageError(f"There is no agreement {name!r}.{suggest_nearest(name, known)} List them:  chest access list")


def _read_terms(event: Event) -> Agreement:
    body = event.body
    values: dict[str, Any] = {name: body.get(name, "") for name in _TERMS}
    values |= {name: tuple(body.get(name, ())) for name in _LISTS}
    values |= {name: date.fromisoformat(body[name]) for name in _DAYS}
    return Agreement(id=event.about, **values)
