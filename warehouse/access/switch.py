"""The switch of enforcement: an event in the log, so that it holds for whoever uses the lake. Off at first."""

from __future__ import annotations

from collections.abc import Sequence

from warehouse.access import vocabulary
from warehouse.access.log import Event, NewEvent


def is_enforced(events: Sequence[Event]) -> bool:
    """Whether agreements are enforced after these events."""
    switched = (
        event.body.get("enforced") for event in reversed(events) if event.event == vocabulary.ENFORCEMENT_CHANGED
    )
    return next(switched, False) is True


def switch_enforcement(on: bool, actor: str = "", reason: str = "") -> NewEvent:
    """The event that switches it on or off."""
    return NewEvent(
        vocabulary.ENFORCEMENT_CHANGED, body={"enforced": on, "reason": reason}, actor=actor, role="handler"
    )
