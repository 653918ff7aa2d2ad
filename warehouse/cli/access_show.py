"""chest access list, show and form: the applications and agreements of a lake, and the empty forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.access_options import Id, Out, Shown, find_place, write_text, write_value
from warehouse.cli.output import print_line, print_note

if TYPE_CHECKING:
    from rich.console import Console

    from warehouse.access.agreements import Agreement
    from warehouse.access.applications import Application
    from warehouse.access.log import Event
    from warehouse.settings import Settings


#: What an agreement covers.
_COVERED = ("groups", "modalities", "centres", "fields")


def form(
    name: Annotated[
        str, typer.Argument(metavar="FORM", help="request, review, decision, grant, renewal or ending.")
    ] = "request",
    of: Annotated[str, typer.Option("--of", metavar="ID", help="Fill in the request of this application.")] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file.")] = None,
    lake: options.Lake = options.DEFAULT_LAKE,
) -> None:
    """Write an empty form in YAML, with an explanation of each field.

    --of ID fills in the request of an application that was returned, to be corrected and submitted again.

    \b
    Examples:
    $ chest access form -o request.yaml
    $ chest access form review -o review.yaml
    """
    from warehouse.access import log
    from warehouse.access.applications import find_application
    from warehouse.access.step_forms import find_form
    from warehouse.errors import UsageError

    found, values = find_form(name), None
    if of:
        if name != "request":
            raise UsageError(f"--of fills in a request, and the form is {name}. Leave it out.")
        values = find_application(log.read_events(*find_place(lake)), of).request
    write_text(found.render(values), output)
    if output:
        print_note(f"{output} is written. Fill it in with any editor.")


def list_(lake: options.Lake = options.DEFAULT_LAKE, form: Out = Shown.TABLE) -> None:
    """List applications and agreements, newest first, with a warning some weeks before an agreement ends.

    \b
    Example:
    $ chest access list
    """
    from warehouse.access import log, programme
    from warehouse.access.agreements import list_agreements
    from warehouse.access.applications import list_applications

    place, settings = find_place(lake)
    events = log.read_events(place, settings)
    today, end = programme.get_today(), programme.read_programme_end(settings)
    agreements = list_agreements(events, end)
    rows = [_summarise(one, agreements.get(one.id), today) for one in reversed(list_applications(events).values())]
    if form is not Shown.TABLE:
        write_value(rows, form)
    elif rows:
        _print_list(rows)
    else:
        print_line("No application yet.")
        print_note("Begin with a form:  chest access form -o request.yaml")
    for warning in programme.list_warnings(agreements.values(), today):
        print_note(f"WARNING: {warning}")


def _summarise(application: Application, agreement: Agreement | None, today: Any) -> dict[str, Any]:
    request = application.request
    return {
        "id": application.id,
        "state": agreement.state_on(today) if agreement else application.state,
        "starts": agreement.starts if agreement else None,
        "ends": agreement.ends if agreement else None,
        "applicant": request["applicant"],
        "organisation": request["organisation"],
        "title": request["title"],
        "purpose": request["purpose"],
        "waits_for": application.stage,
    }


def _print_list(rows: Sequence[dict[str, Any]]) -> None:
    from warehouse.cli.terminal import create_console, create_table

    table = create_table()
    for name in ("id", "state", "until"):
        table.add_column(name, no_wrap=True)
    for name in ("applicant", "title"):
        table.add_column(name, ratio=1, overflow="fold")
    for row in rows:
        table.add_row(
            row["id"],
            row["state"],
            str(row["ends"] or ""),
            f"{row['applicant']}, {row['organisation']}",
            row["title"],
        )
        if row["waits_for"]:
            table.add_row("", "", "", "", row["waits_for"])
    create_console().print(table)


def show(application: Id, lake: options.Lake = options.DEFAULT_LAKE, form: Out = Shown.TABLE) -> None:
    """Show an application: its request, reviews, decision, agreement and history.

    \b
    Example:
    $ chest access show 2026-0001 --format yaml
    """
    from warehouse.access import log, programme
    from warehouse.access.agreements import list_agreements
    from warehouse.access.applications import find_application

    place, settings = find_place(lake)
    events = log.read_events(place, settings)
    found = find_application(events, application)
    if form is not Shown.TABLE:
        write_value(describe_application(found, events, settings), form)
    else:
        _print_application(found, list_agreements(events, programme.read_programme_end(settings)).get(found.id))
    today = programme.get_today()
    agreements = list_agreements(events, programme.read_programme_end(settings))
    for warning in programme.list_warnings([agreements[found.id]] if found.id in agreements else [], today):
        print_note(f"WARNING: {warning}")


def describe_application(application: Application, events: Sequence[Event], settings: Settings) -> dict[str, Any]:
    """An application as YAML and JSON have it."""
    from warehouse.access import programme
    from warehouse.access.agreements import list_agreements
    from warehouse.access.log import format_time
    from warehouse.access.request_form import build_form

    agreement = list_agreements(events, programme.read_programme_end(settings)).get(application.id)
    return {
        "id": application.id,
        "state": application.state,
        "waits_for": application.stage,
        "request": {one.name: application.request.get(one.name) for one in build_form().fields},
        "reviews": [{"role": role, **_order(review)} for role, review in application.reviews.items()],
        "peer_reviews": [_order(review) for review in application.peer_reviews],
        "decision": dict(application.decision) or None,
        "agreement": {"state": agreement.state_on(programme.get_today()), **agreement.to_terms()}
        if agreement
        else None,
        "history": [
            {
                "number": event.number,
                "at": format_time(event.at),
                "event": event.event,
                "actor": event.actor,
                "role": event.role,
                "hash": event.hash,
            }
            for event in application.history
        ],
    }


def _order(review: dict[str, Any]) -> dict[str, Any]:
    """A review with its fields in the order of the form: events have them sorted."""
    from warehouse.access.vocabulary import CRITERIA

    names = ("reviewer", "organisation", "recommendation", "comment")
    findings = {criterion: review["findings"][criterion] for criterion in CRITERIA}
    return {**{name: review[name] for name in names}, "findings": findings}


def _print_application(found: Application, agreement: Agreement | None) -> None:
    from warehouse.access import programme
    from warehouse.cli.terminal import create_console

    out, request = create_console(), found.request
    stage = f": {found.stage}" if found.stage else ""
    _print_facts(out, [("application", f"{found.id}, {found.state}{stage}")])
    if agreement:
        state = agreement.state_on(programme.get_today())
        _print_facts(out, [("agreement", f"{state}, from {agreement.starts} to {agreement.ends}")])
    _print_facts(
        out,
        [
            ("title", request["title"]),
            ("applicant", f"{request['applicant']} ({request['orcid']}), {request['organisation']}"),
            ("team", ", ".join(request["team"]) or "nobody else"),
            ("purpose", f"{request['purpose']} ({', '.join([*request['duo'], *request['mondo']])})"),
            *(
                (name, ", ".join(getattr(agreement, name) if agreement else request[name]) or "none")
                for name in _COVERED
            ),
            ("requested", f"from {request['starts']} to {request['ends']}"),
            ("output", request["output"]),
        ],
    )
    _print_reviews(out, found)
    out.print("")
    out.print("history")
    for event in found.history:
        print_indented(
            out, f"{event.at:%Y-%m-%d %H:%M}  {event.event.partition('/')[2]} by {event.actor} ({event.role})", 2, 20
        )


def _print_reviews(out: Console, found: Application) -> None:
    from warehouse.access import vocabulary

    reviews = [*found.reviews.items(), *((review["organisation"], review) for review in found.peer_reviews)]
    if reviews:
        out.print("")
        out.print("reviews")
    for role, review in reviews:
        findings = ", ".join(f"{criterion} {review['findings'][criterion]}" for criterion in vocabulary.CRITERIA)
        out.print(f"  {role}: {review['reviewer']} recommends {review['recommendation']}")
        for text in (findings, review["comment"]):
            if text:
                print_indented(out, text)
    if found.decision:
        out.print("")
        out.print(f"decision: {found.decision['decision']}")
        for text in (found.decision["comment"], found.decision["no_peer_review"]):
            if text:
                print_indented(out, text)


def _print_facts(out: Console, facts: Sequence[tuple[str, str]]) -> None:
    """Print facts as two columns, wrapped to the width of the terminal."""
    from warehouse.cli.terminal import create_table

    table = create_table(show_header=False)
    table.add_column(no_wrap=True, min_width=11)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    out.print(table)


def print_indented(out: Console, text: str, indent: int = 4, rest: int = 4) -> None:
    """Print a text wrapped to the width of the terminal, its first line and the rest indented."""
    import textwrap

    for line in text.splitlines():
        width = max(out.width, 40)
        parts = textwrap.wrap(line, width, initial_indent=" " * indent, subsequent_indent=" " * rest)
        for part in parts or [""]:
            out.print(part)
