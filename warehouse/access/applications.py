"""Applications: what became of each request, read from the events of the log. The states are those of REMS.

submitted ─▶ returned ─▶ submitted …      a decision needs the review of all six roles since the last submission
submitted ─▶ rejected
submitted ─▶ approved ─▶ revoked          approved with the grant, which follows the committee's decision
submitted, returned, approved ─▶ closed   that an approved one is expired follows from its end, not from an event
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from warehouse.access import vocabulary
from warehouse.access.log import Event
from warehouse.access.odd_events import explain_odd_events
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError


@dataclass(frozen=True, slots=True)
class Application:
    """An application after the events of the log: its state, the request as last submitted, and the comments on it.

    `reviews` has the last review of each role since then, `peer_reviews` those of external reviewers, `decision` the
    committee's decision that counts; {} without one.
    """

    id: str
    state: str
    request: dict[str, Any]
    reviews: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    peer_reviews: tuple[dict[str, Any], ...] = ()
    decision: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Event, ...] = ()

    @property
    def roles_missing(self) -> list[str]:
        """The roles of the committee that have not reviewed it, in the order of the document."""
        return [role for role in vocabulary.ROLES if role not in self.reviews]

    @property
    def expertise_missing(self) -> list[str]:
        """The criteria for which a reviewer of the committee missed the expertise, and no external one has found."""
        return [
            criterion
            for criterion in vocabulary.CRITERIA
            if any(review["findings"].get(criterion) == vocabulary.MISSING for review in self.reviews.values())
            and not any(review["findings"].get(criterion) in ("met", "not met") for review in self.peer_reviews)
        ]

    @property
    def stage(self) -> str:
        """What it waits for, in a few words; "" where that is nothing."""
        if self.state == "returned":
            return "waits for the applicant"
        if self.state != "submitted":
            return ""
        if self.decision:
            return "decided; waits for the signed agreement"
        if missing := self.roles_missing:
            return (
                f"{len(self.reviews)} of {len(vocabulary.ROLES)} roles have reviewed it; missing: {', '.join(missing)}"
            )
        if missing := self.expertise_missing:
            return f"waits for external peer review of {', '.join(missing)}"
        return "waits for the decision"


@explain_odd_events()
def list_applications(events: Sequence[Event]) -> dict[str, Application]:
    """Every application of the log, by ID, as it is after these events."""
    found: dict[str, Application] = {}
    for event in events:
        known = found.get(event.about)
        if known is None and event.event == vocabulary.SUBMITTED:
            found[event.about] = Application(event.about, "submitted", event.body, history=(event,))
        elif known is not None:
            found[event.about] = replace(_follow(known, event), history=(*known.history, event))
    return found


def _follow(known: Application, event: Event) -> Application:
    state = vocabulary.STATES.get(event.event, known.state)
    if event.event == vocabulary.SUBMITTED:
        return Application(known.id, state, event.body)
    if event.event == vocabulary.REVIEWED:
        if event.role == vocabulary.PEER:
            return replace(known, peer_reviews=(*known.peer_reviews, event.body))
        return replace(known, reviews={**known.reviews, event.role: event.body})
    if event.event == vocabulary.DECIDED:
        return replace(known, decision=event.body)
    return replace(known, state=state)


def find_application(events: Sequence[Event], name: str) -> Application:
    """Find an application by its ID; UsageError, with a near one, if there is none."""
    known = list_applications(events)
    if name not in known:
        raise UsageError(
            f"There is no application {name!r}.{suggest_nearest(name, known)} List them:  chest access list"
        )
    return known[name]
