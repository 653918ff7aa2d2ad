"""The requests of the airlock as the log has them: what waits, who has reviewed it, what was released."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, Literal

from warehouse.access import vocabulary
from warehouse.access.airlock.holding import Held
from warehouse.access.airlock.inspection import Finding
from warehouse.access.log import Event
from warehouse.access.odd_events import explain_odd_events
from warehouse.access.people import is_same_person
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError

State = Literal["waiting", "approved", "rejected", "released"]
#: Reviewers who must approve before anything is released.
REVIEWERS = 2


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer decided, and why."""

    reviewer: str
    at: datetime
    approves: bool
    comment: str


@dataclass(frozen=True, slots=True)
class AirlockRequest:
    """A request to release files under an agreement, with the findings of the checks and the reviews so far.

    `patients_set` is the digest of the set of those whom the files count; "" where that is not known.
    """

    id: str
    agreement: str
    requester: str
    at: datetime
    reason: str
    files: tuple[Held, ...]
    findings: tuple[Finding, ...]
    n_patients: int | None
    patients_set: str = ""
    reviews: tuple[Review, ...] = ()
    released_by: str = ""

    @property
    def state(self) -> State:
        """Waiting, approved, rejected or released."""
        if self.released_by:
            return "released"
        if any(not review.approves for review in self.reviews):
            return "rejected"
        return "approved" if len(self.reviews) >= REVIEWERS else "waiting"

    def require_reviewer(self, name: str) -> None:
        """Raise UsageError if this person may not review it: the requester, or who has reviewed it already."""
        if self.state in ("rejected", "released"):
            raise UsageError(f"Request {self.id} was {self.state} already. Make another one:  chest airlock request")
        if is_same_person(name, self.requester):
            raise UsageError(f"{name} has made request {self.id}, and cannot review it. Two others must.")
        if any(is_same_person(name, review.reviewer) for review in self.reviews):
            raise UsageError(f"{name} has reviewed request {self.id} already. Another reviewer must.")


@explain_odd_events()
def list_requests(events: Sequence[Event]) -> dict[str, AirlockRequest]:
    """Every request of the airlock by ID, as it is after these events."""
    found: dict[str, AirlockRequest] = {}
    for event in events:
        name = str(event.body.get("request", ""))
        if event.event == vocabulary.AIRLOCK_REQUESTED:
            found[name] = _read_request(name, event)
        elif name not in found:
            continue
        elif event.event == vocabulary.AIRLOCK_REVIEWED:
            review = Review(event.actor, event.at, event.body["decision"] == "approve", event.body["comment"])
            found[name] = replace(found[name], reviews=(*found[name].reviews, review))
        elif event.event == vocabulary.AIRLOCK_RELEASED:
            found[name] = replace(found[name], released_by=event.actor)
    return found


def find_request(events: Sequence[Event], name: str) -> AirlockRequest:
    """Find a request by its ID; UsageError, with near names, if there is none."""
    known = list_requests(events)
    if name not in known:
        raise UsageError(
            f"There is no airlock request {name!r}.{suggest_nearest(name, known)} List them:  chest airlock list"
        )
    return known[name]


def list_next_ids(events: Sequence[Event], year: int) -> Iterator[str]:
    """The IDs that no request has yet, in order: A2026-0001, …"""
    given = (re.fullmatch(rf"A{year}-(\d+)", name, re.ASCII) for name in list_requests(events))
    last = max((int(found[1]) for found in given if found), default=0)
    return (f"A{year}-{number:04}" for number in count(last + 1))


def _read_request(name: str, event: Event) -> AirlockRequest:
    body: dict[str, Any] = event.body
    return AirlockRequest(
        id=name,
        agreement=event.about,
        requester=event.actor,
        at=event.at,
        reason=body["reason"],
        files=tuple(Held(**file) for file in body["files"]),
        findings=tuple(Finding(**finding) for finding in body["findings"]),
        n_patients=body["patients"],
        patients_set=str(body.get("patients_set") or ""),
    )
