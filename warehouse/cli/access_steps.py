"""chest access request, review, decide, grant, renew, revoke, close: the steps of an application."""

from __future__ import annotations

from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.access_options import By, File, Id, Out, Shown, fill_form, name_user, take_step

Reason = Annotated[str, typer.Option("--reason", help="Why.")]


def request(
    file: File = None,
    again: Annotated[
        str, typer.Option("--id", metavar="ID", help="The application that was returned, submitted again.")
    ] = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Submit a request for access: a form in YAML, as chest access form -o FILE writes it.

    The application gets an ID, under which the committee reviews it.

    \b
    Example:
    $ chest access request request.yaml
    """
    from warehouse.access import programme, steps
    from warehouse.access.request_form import build_form

    values = fill_form(build_form(), file)
    take_step(
        lake,
        form,
        lambda events, settings: steps.submit(
            events, values, programme.get_today(), programme.read_programme_end(settings), again
        ),
    )


def review(
    application: Id,
    file: File = None,
    role: Annotated[
        str, typer.Option("--role", help="One of the six roles, as scientific; or external peer reviewer.")
    ] = "",
    by: By = "",
    organisation: Annotated[str, typer.Option("--organisation", help="Of an external peer reviewer.")] = "",
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", metavar="CRITERION=FINDING", help="As benefit=met; for each criterion assessed."),
    ] = None,
    recommendation: Annotated[str, typer.Option("--recommendation", help="approve, return or reject.")] = "",
    comment: Annotated[str, typer.Option("--comment", help="Reasons.")] = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Review an application in one of the committee's six roles, or as an external peer reviewer.

    Findings are met, not met, expertise missing or not assessed. A role that reviews again replaces its review.

    \b
    Example:
    $ chest access review 2026-0001 --role scientific --by "Ann Lee" --finding benefit=met --recommendation approve
    """
    from warehouse.access import steps
    from warehouse.access.step_forms import build_review, parse_findings

    given = {"role": role, "organisation": organisation, "recommendation": recommendation, "comment": comment}
    reviewer = by if file else name_user(by)
    values = fill_form(build_review(), file, reviewer=reviewer, **given, **parse_findings(finding or []))
    take_step(lake, form, lambda events, _: steps.review(events, application, values))


def decide(
    application: Id,
    file: File = None,
    decision: Annotated[str, typer.Option("--decision", help="approved, rejected or returned.")] = "",
    by: By = "",
    comment: Annotated[str, typer.Option("--comment", help="Reasons.")] = "",
    no_peer_review: Annotated[
        str, typer.Option("--no-peer-review", metavar="REASON", help="Why external peer review is not proportionate.")
    ] = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Record the committee's decision, or return the application to the applicant.

    An application is approved or rejected only after all six roles have reviewed it, and, where expertise is missing,
    an external peer reviewer. Access begins with chest access grant.

    \b
    Example:
    $ chest access decide 2026-0001 --decision approved
    """
    from warehouse.access import steps
    from warehouse.access.step_forms import build_decision

    decided_by = by if file else name_user(by)
    given = {"decision": decision, "decided_by": decided_by, "comment": comment, "no_peer_review": no_peer_review}
    values = fill_form(build_decision(), file, **given)
    take_step(lake, form, lambda events, _: steps.decide(events, application, values))


def grant(
    application: Id,
    file: File = None,
    reference: Annotated[str, typer.Option("--reference", help="Reference of the signed sharing agreement.")] = "",
    starts: Annotated[str, typer.Option("--starts", metavar="DAY", help="First day; as requested by default.")] = "",
    ends: Annotated[str, typer.Option("--ends", metavar="DAY", help="Last day; as requested by default.")] = "",
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Grant access under the signed sharing agreement: what was requested, or less of it (in the form).

    \b
    Example:
    $ chest access grant 2026-0001 --reference "DSA 2026/17"
    """
    from warehouse.access import programme, steps
    from warehouse.access.step_forms import build_grant

    given = {"granted_by": by if file else name_user(by), "reference": reference, "starts": starts, "ends": ends}
    values = fill_form(build_grant(), file, **given)
    take_step(
        lake,
        form,
        lambda events, settings: steps.grant(events, application, values, programme.read_programme_end(settings)),
    )


def renew(
    application: Id,
    file: File = None,
    ends: Annotated[str, typer.Option("--ends", metavar="DAY", help="The new last day.")] = "",
    reason: Reason = "",
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Give an agreement a later end, before it has ended; an expired one is applied for again.

    \b
    Example:
    $ chest access renew 2026-0001 --ends 2026-12-31 --reason "The validation takes longer."
    """
    from warehouse.access import programme, steps
    from warehouse.access.step_forms import build_renewal

    given = {"ends": ends, "renewed_by": by if file else name_user(by), "reason": reason}
    values = fill_form(build_renewal(), file, **given)
    take_step(
        lake,
        form,
        lambda events, settings: steps.renew(
            events, application, values, programme.get_today(), programme.read_programme_end(settings)
        ),
    )


def revoke(
    application: Id,
    file: File = None,
    reason: Reason = "",
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Revoke an agreement, at once: the terms were broken.

    \b
    Example:
    $ chest access revoke 2026-0001 --reason "Data were passed on."
    """
    from warehouse.access import steps
    from warehouse.access.step_forms import build_ending

    values = fill_form(build_ending(), file, ended_by=by if file else name_user(by), reason=reason)
    take_step(lake, form, lambda events, _: steps.revoke(events, application, values))


def close(
    application: Id,
    file: File = None,
    reason: Reason = "",
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Close an application that is pursued no more, or an agreement that is no longer needed, at once.

    \b
    Example:
    $ chest access close 2026-0001 --reason "The project has ended."
    """
    from warehouse.access import steps
    from warehouse.access.step_forms import build_ending

    values = fill_form(build_ending(), file, ended_by=by if file else name_user(by), reason=reason)
    take_step(lake, form, lambda events, _: steps.close(events, application, values))
