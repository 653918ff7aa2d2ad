"""A request that is valid, and the steps that lead it on, for the tests of access."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from warehouse.access import log, step_forms, steps, vocabulary

TODAY = datetime.now(UTC).date()
#: A period around today, whatever day it is.
STARTS, ENDS = TODAY - timedelta(days=30), TODAY + timedelta(days=100)
REQUEST: dict[str, Any] = {
    "applicant": "Ada Young",
    "orcid": "https://orcid.org/0000-0002-1825-0097",
    "organisation": "University of Leeds",
    "organisation_sector": "academic institute",
    "team": ["Ben Old", "Cy Lin"],
    "track_record": "Ten years of chest imaging: twelve papers.",
    "title": "Risk on chest films",
    "lay_summary": "We teach a computer to see risk.\nIt reads films.",
    "public_benefit": "Faster care.",
    "purpose": "Develop image processing software",
    "duo": ["DUO:0000007", "DUO_0000025"],
    "mondo": ["mondo:0100096"],
    "funding": ["NIHR"],
    "groups": ["training"],
    "modalities": ["cr", "DX"],
    "centres": ["all"],
    "fields": ["age", "sex"],
    "legal_basis_article_6": "6(1)(e)",
    "legal_basis_article_9": "9(2)(i)",
    "confidentiality": "COPI notice",
    "access_type": "Release",
    "security": "A server of the university.",
    "starts": STARTS.isoformat(),
    "ends": ENDS.isoformat(),
    "output": "A model and a paper.",
}


def parse(form: str, **values: Any) -> dict[str, Any]:
    """The values of a form, as a command reads them."""
    return step_forms.find_form(form).parse(values)


def extend(events: list[log.Event], made: list[log.NewEvent]) -> list[log.Event]:
    """A log with the events of a step."""
    return [*events, *log.chain_events(events[-1] if events else None, made)]


def submit(events: list[log.Event], end: date | None = None, again: str = "", **changes: Any) -> list[log.Event]:
    values = parse("request", **{**REQUEST, **changes})
    return extend(events, steps.submit(events, values, TODAY, end, again))


def review(events: list[log.Event], name: str, role: str, **values: Any) -> list[log.Event]:
    given = {"reviewer": f"A {role}", "role": role, "recommendation": "approve", "scientific_merit": "met", **values}
    return extend(events, steps.review(events, name, parse("review", **given)))


def review_by_all(events: list[log.Event], name: str) -> list[log.Event]:
    for role in vocabulary.ROLES:
        events = review(events, name, role)
    return events


def decide(events: list[log.Event], name: str, decision: str, **values: Any) -> list[log.Event]:
    given = {"decision": decision, "decided_by": "The chair", "comment": "As discussed.", **values}
    return extend(events, steps.decide(events, name, parse("decision", **given)))


def grant(events: list[log.Event], name: str, end: date | None = None, **values: Any) -> list[log.Event]:
    given = {"granted_by": "The chair", "reference": "DSA 17", **values}
    return extend(events, steps.grant(events, name, parse("grant", **given), end))


def make_agreement(**changes: Any) -> list[log.Event]:
    """The log of one agreement, from the request to the grant."""
    events = submit([], **changes)
    return grant(decide(review_by_all(events, events[0].about), events[0].about, "approved"), events[0].about)


def to_new(events: list[log.Event]) -> list[log.NewEvent]:
    """Events of a log that is only in memory, to be appended to that of a lake."""
    return [log.NewEvent(event.event, event.about, event.body, event.actor, event.role) for event in events]
