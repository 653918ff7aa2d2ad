"""The steps of an application and its agreement: each makes the events to append, or states why it may not be taken.

The values are those of forms (request_form.py, step_forms.py), read and checked. What is taken under an agreement is
not here but in release events, which the commands that release append.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from warehouse.access import kinds, step_forms, vocabulary
from warehouse.access.agreements import Agreement, find_agreement
from warehouse.access.applications import Application, find_application, list_applications
from warehouse.access.log import Event, NewEvent
from warehouse.access.people import is_same_person
from warehouse.access.programme import VARIABLE
from warehouse.errors import UsageError

Values = Mapping[str, Any]


def submit(
    events: Sequence[Event], values: Values, day: date, programme_end: date | None, again: str = ""
) -> list[NewEvent]:
    """Submit a request: a new application, or `again` one that was returned to the applicant."""
    _require_period("request", values["starts"], values["ends"], programme_end)
    if again:
        _require_state(find_application(events, again), "submitted again", "returned")
    else:
        again = _make_id(events, day.year)
    return [NewEvent(vocabulary.SUBMITTED, again, dict(values), values["applicant"], "applicant")]


def review(events: Sequence[Event], name: str, values: Values) -> list[NewEvent]:
    """Review an application. A role that reviews again replaces its review."""
    application = find_application(events, name)
    _require_open(application, "reviewed")
    findings = {criterion: values[name] for name, criterion in step_forms.FINDING_FIELDS.items()}
    is_plain = set(findings.values()) <= {vocabulary.MET, "not assessed"} and values["recommendation"] == "approve"
    if not is_plain and not values["comment"]:
        raise UsageError("The review is not valid: comment is empty, which gives the reasons of anything but approval.")
    if values["role"] == vocabulary.PEER and not values["organisation"]:
        raise UsageError("The review is not valid: organisation is empty, and an external peer reviewer has one.")
    _require_outsider(application, values["reviewer"], "review")
    others = {role: each["reviewer"] for role, each in application.reviews.items() if role != values["role"]}
    if held := [role for role, person in others.items() if is_same_person(person, values["reviewer"])]:
        raise UsageError(
            f"{values['reviewer']} has reviewed {name} as {held[0]}: each role is another person's. "
            "Name another reviewer."
        )
    body = {
        "findings": findings,
        "recommendation": values["recommendation"],
        "comment": values["comment"],
        "reviewer": values["reviewer"],
        "organisation": values["organisation"],
    }
    return [NewEvent(vocabulary.REVIEWED, name, body, values["reviewer"], values["role"])]


def decide(events: Sequence[Event], name: str, values: Values) -> list[NewEvent]:
    """Record the committee's decision: approved and rejected only after every role has spoken; returned at any time."""
    application = find_application(events, name)
    _require_open(application, "decided")
    decision, comment = values["decision"], values["comment"]
    if decision != "approved" and not comment:
        raise UsageError(f"The decision is not valid: comment is empty. Give the reasons why {name} is {decision}.")
    _require_outsider(application, values["decided_by"], "decide on")
    by = {"actor": values["decided_by"], "role": "handler"}
    if decision == "returned":
        return [NewEvent(vocabulary.RETURNED, name, {"comment": comment}, **by)]
    if missing := application.roles_missing:
        raise UsageError(f"{name} cannot be decided: no review by {', '.join(missing)}. Every role reviews first.")
    if (missing := application.expertise_missing) and not values["no_peer_review"]:
        raise UsageError(
            f"{name} cannot be decided: expertise is missing for {', '.join(missing)}. Record an external peer review "
            f"(chest access review {name} --role '{vocabulary.PEER}'), or why none is proportionate (--no-peer-review)."
        )
    body = {"decision": decision, "comment": comment, "no_peer_review": values["no_peer_review"]}
    decided = NewEvent(vocabulary.DECIDED, name, body, **by)
    rejected = NewEvent(vocabulary.REJECTED, name, {"comment": comment}, **by)
    return [decided, rejected] if decision == "rejected" else [decided]


def grant(events: Sequence[Event], name: str, values: Values, programme_end: date | None) -> list[NewEvent]:
    """Grant access as decided: the terms are those of the request, or less."""
    application = find_application(events, name)
    _require_state(application, "granted", "submitted")
    _require_outsider(application, values["granted_by"], "grant")
    if application.decision.get("decision") != "approved":
        raise UsageError(
            f"{name} cannot be granted: the committee has not approved it. {application.stage}.".replace("..", ".")
        )
    terms = _make_terms(application, values)
    _require_period("grant", terms["starts"], terms["ends"], programme_end)
    for day, is_outside in (
        ("starts", terms["starts"] < application.request["starts"]),
        ("ends", terms["ends"] > application.request["ends"]),
    ):
        if is_outside:
            raise UsageError(
                f"The grant is not valid: {day} is {terms[day]}, outside the period of the request: "
                f"{application.request['starts']} to {application.request['ends']}."
            )
    body = {
        **terms,
        "granted_by": values["granted_by"],
        "reference": values["reference"],
        "opt_out_applied": values["opt_out_applied"],
    }
    return [NewEvent(vocabulary.APPROVED, name, body, values["granted_by"], "handler")]


def renew(events: Sequence[Event], name: str, values: Values, day: date, programme_end: date | None) -> list[NewEvent]:
    """Give an agreement a later end, before it has ended: an expired one stays so, and is applied for again."""
    agreement = find_agreement(events, name)
    if (state := agreement.state_on(day)) not in ("active", "not started"):
        since = agreement.ends if state == "expired" else agreement.ended
        raise UsageError(
            f"Agreement {name} is {state} since {since} and cannot be renewed. Apply again:  chest access form"
        )
    if values["ends"] <= agreement.ends.isoformat():
        raise UsageError(
            f"The renewal is not valid: ends is {values['ends']}, and {name} lasts until {agreement.ends} already."
        )
    _require_outsider(find_application(events, name), values["renewed_by"], "renew")
    _require_period("renewal", agreement.starts.isoformat(), values["ends"], programme_end)
    body = {"ends": values["ends"], "reason": values["reason"]}
    return [NewEvent(vocabulary.RENEWED, name, body, values["renewed_by"], "handler")]


def revoke(events: Sequence[Event], name: str, values: Values) -> list[NewEvent]:
    """Revoke an agreement, at once."""
    _require_agreement_in_force(find_agreement(events, name), "revoked")
    return [NewEvent(vocabulary.REVOKED, name, {"reason": values["reason"]}, values["ended_by"], "handler")]


def close(events: Sequence[Event], name: str, values: Values) -> list[NewEvent]:
    """Close an application that is pursued no more, or an agreement that is no longer needed, at once."""
    _require_state(find_application(events, name), "closed", "submitted", "returned", "approved")
    return [NewEvent(vocabulary.CLOSED, name, {"reason": values["reason"]}, values["ended_by"], "handler")]


def _make_id(events: Sequence[Event], year: int) -> str:
    numbers = [int(name[5:]) for name in list_applications(events) if name.startswith(f"{year}-")]
    return f"{year}-{max(numbers, default=0) + 1:04}"


def _make_terms(application: Application, values: Values) -> dict[str, Any]:
    asked = application.request
    terms = {name: asked[name] for name in Agreement.list_terms()}
    for name in ("starts", "ends", *step_forms.NARROWED):
        if values[name]:
            terms[name] = values[name]
    for name in step_forms.NARROWED:
        if excess := find_excess(terms[name], asked[name]):
            raise UsageError(f"The grant is not valid: {name} has {', '.join(excess)}, which was not requested.")
    return terms


def find_excess(granted: Sequence[str], asked: Sequence[str]) -> list[str]:
    """What is granted and was not asked for; `all` is every one of a kind."""
    return [] if kinds.ALL in asked else [name for name in granted if name not in asked]


def _require_outsider(application: Application, person: str, what: str) -> None:
    """UsageError if the applicant, or one of the team, takes a step of the committee."""
    if any(is_same_person(person, one) for one in (application.request["applicant"], *application.request["team"])):
        raise UsageError(f"{person} takes part in {application.id} and cannot {what} it. Name somebody else.")


def _require_open(application: Application, what: str) -> None:
    _require_state(application, what, "submitted")
    if application.decision:
        raise UsageError(
            f"{application.id} cannot be {what}: it is decided already. See it:  chest access show {application.id}"
        )


def _require_state(application: Application, what: str, *states: str) -> None:
    if application.state not in states:
        raise UsageError(
            f"{application.id} cannot be {what}: it is {application.state}, not {' or '.join(states)}. "
            f"See it:  chest access show {application.id}"
        )


def _require_agreement_in_force(agreement: Agreement, what: str) -> None:
    if agreement.ended:
        raise UsageError(f"Agreement {agreement.id} cannot be {what}: it is {agreement.state} since {agreement.ended}.")


def _require_period(what: str, starts: str, ends: str, programme_end: date | None) -> None:
    if ends < starts:
        raise UsageError(f"The {what} is not valid: ends is {ends}, before starts, {starts}.")
    if programme_end and ends > programme_end.isoformat():
        raise UsageError(
            f"The {what} is not valid: ends is {ends}, after the end of the programme. "
            f"Allowed: until {programme_end} ({VARIABLE})."
        )
