"""The forms of the steps after a request: review, decision, grant, renewal, and the end of an agreement."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from warehouse.access import kinds, request_form, vocabulary
from warehouse.access.forms import Field, Form
from warehouse.engine.names import suggest_nearest
from warehouse.errors import UsageError

#: The fields of a review that are its findings, and the criterion of each.
FINDING_FIELDS = {name.replace(" ", "_"): name for name in vocabulary.CRITERIA}
_SHORT_ROLES = {name.removesuffix(" advisor"): name for name in vocabulary.ROLES}
OPT_OUT = ("Yes", "No", "Not applicable")
#: What of a request a grant may narrow.
NARROWED = ("groups", "modalities", "centres", "fields")


@cache
def build_review() -> Form:
    """Build the form of a review: by one of the six roles, or by an external peer reviewer."""
    roles = (*vocabulary.ROLES, vocabulary.PEER)
    findings = kinds.read_choice(vocabulary.FINDINGS)
    return Form(
        "review",
        "A review of an application by a member of the committee, or by an external peer reviewer.",
        (
            Field("reviewer", kinds.read_line(), "Name of the reviewer."),
            Field("role", kinds.read_choice(roles, _SHORT_ROLES), f"One of: {'; '.join(roles)}."),
            Field("organisation", kinds.read_line(), "Organisation of an external peer reviewer.", ""),
            *(
                Field(
                    name,
                    findings,
                    f"{vocabulary.CRITERIA[criterion]}: {', '.join(vocabulary.FINDINGS)}.",
                    "not assessed",
                )
                for name, criterion in FINDING_FIELDS.items()
            ),
            Field(
                "recommendation",
                kinds.read_choice(vocabulary.RECOMMENDATIONS),
                f"One of: {', '.join(vocabulary.RECOMMENDATIONS)}.",
            ),
            Field(
                "comment",
                kinds.read_paragraphs(),
                "Reasons; needed unless all that was assessed is met, and approval recommended.",
                "",
                is_long=True,
            ),
        ),
    )


def parse_findings(given: Iterable[str]) -> dict[str, str]:
    """Parse findings given as CRITERION=FINDING; returns them by field. UsageError if one has another form."""
    found = {}
    for text in given:
        criterion, sign, finding = text.partition("=")
        name = "_".join(criterion.strip().lower().replace("_", " ").split())
        if not sign or name not in FINDING_FIELDS:
            known = kinds.list_words(vocabulary.CRITERIA)
            raise UsageError(
                f"{text!r} is no finding. Give CRITERION=FINDING, as benefit=met; the criteria are {known}."
            )
        found[name] = finding
    return found


@cache
def build_decision() -> Form:
    """Build the form of a decision of the committee."""
    return Form(
        "decision",
        "The committee's decision on an application, or its return to the applicant.",
        (
            Field("decision", kinds.read_choice(vocabulary.DECISIONS), f"One of: {', '.join(vocabulary.DECISIONS)}."),
            Field("decided_by", kinds.read_line(), "Who records the decision for the committee."),
            Field("comment", kinds.read_paragraphs(), "Reasons; needed for rejected and returned.", "", is_long=True),
            Field(
                "no_peer_review",
                kinds.read_paragraphs(300),
                "Why external peer review is not proportionate, where expertise is missing and none was made.",
                "",
                is_long=True,
            ),
        ),
    )


@cache
def build_grant() -> Form:
    """Build the form of a grant: the sharing agreement is signed. What is left empty is as it was requested."""
    request = {one.name: one for one in request_form.build_form().fields}
    return Form(
        "grant",
        "The grant of access under a signed sharing agreement. What is left empty is as it was requested.",
        (
            Field("granted_by", kinds.read_line(), "Who grants access."),
            Field("reference", kinds.read_line(), "Reference of the signed sharing agreement."),
            Field(
                "opt_out_applied",
                kinds.read_choice(OPT_OUT),
                "Whether patients of the National Data Opt-Out are excluded: Yes, No, Not applicable. Yes if empty.",
                OPT_OUT[0],
            ),
            Field("starts", kinds.read_day, "First day of access.", ""),
            Field("ends", kinds.read_day, "Last day of access.", ""),
            *(
                Field(
                    name, request[name].read, f"As in the request, or less. {request[name].meaning}", [], is_list=True
                )
                for name in NARROWED
            ),
        ),
    )


@cache
def build_renewal() -> Form:
    """Build the form of a renewal."""
    return Form(
        "renewal",
        "The renewal of an agreement that has not ended yet.",
        (
            Field("ends", kinds.read_day, "The new last day of access; never after the end of the programme."),
            Field("renewed_by", kinds.read_line(), "Who renews it."),
            Field("reason", kinds.read_paragraphs(300), "Why it is renewed.", is_long=True),
        ),
    )


@cache
def build_ending() -> Form:
    """Build the form of a revocation (access ends for misuse) and of a closing (it is no longer needed)."""
    return Form(
        "ending",
        "The end of an agreement, or of an application: revoked for misuse, or closed since it is no longer needed.",
        (
            Field("ended_by", kinds.read_line(), "Who ends it."),
            Field("reason", kinds.read_paragraphs(300), "Why it ends.", is_long=True),
        ),
    )


FORMS = {
    "request": request_form.build_form,
    "review": build_review,
    "decision": build_decision,
    "grant": build_grant,
    "renewal": build_renewal,
    "ending": build_ending,
}


def find_form(name: str) -> Form:
    """Find a form by the name of its step; UsageError if there is none."""
    if name not in FORMS:
        raise UsageError(f"There is no form {name!r}.{suggest_nearest(name, FORMS)} The forms are {', '.join(FORMS)}.")
    return FORMS[name]()
