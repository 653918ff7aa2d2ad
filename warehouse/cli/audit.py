"""chest audit: who took what, when, from which snapshot, and under which agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import options
from warehouse.cli.access_options import Out, Shown, explain_log, find_place, write_value
from warehouse.cli.access_show import print_indented
from warehouse.cli.output import format_count, print_line, print_note

if TYPE_CHECKING:
    from warehouse.access.audit import Taking

#: Facts of a release in the order in which they are shown, each with its words.
_FACTS = {
    "patients": "{:,} patients",
    "images": "{:,} images",
    "objects": "{:,} objects",
    "rows": "{:,} rows",
    "snapshot": "snapshot {}",
    "group": "group {}",
    "as_of": "as of {}",
    "to": "to {}",
    "digest": "digest {}",
}


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(explain_log(audit))


def audit(
    agreement: Annotated[
        str, typer.Option("--agreement", metavar="ID", help="What was taken under this agreement.")
    ] = "",
    patient: Annotated[str, typer.Option("--patient", metavar="PATIENT", help="What this patient is in.")] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="DAY", help="What was taken on this day (UTC) or later.")
    ] = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Show who took what, when, from which snapshot and under which agreement: releases, refusals, and manifests.

    Without --agreement and --patient, changes of the standing list of withdrawals are shown too, by their numbers.

    Releases are found by a patient through keyed digests; of a manifest that was exported without an agreement it is
    not known whether a patient is in it (chest manifest used-by). Where the lake enforces agreements, the log has who
    asked about a patient.

    \b
    Examples:
    $ chest audit --agreement 2026-0001
    $ chest audit --since 2026-01-01 --format json
    """
    from warehouse.access.audit import audit_releases
    from warehouse.access.enforcement import log_question
    from warehouse.query.days import parse_day

    place, settings = find_place(lake)
    if patient:
        log_question(place, settings, "chest audit", [patient])
    found = audit_releases(
        place, settings, agreement=agreement, patient=patient, since=parse_day(since) if since else None
    )
    if form is not Shown.TABLE:
        write_value([one.to_json() for one in found.takings], form)
    else:
        for one in found.takings:
            _print_taking(one)
        if not found.takings:
            print_line("Nothing was taken.")
    if found.unknown:
        print_note(
            f"{format_count(found.unknown, 'manifest')} exported without an agreement: whether the patient is in it is "
            "not recorded. Ask their cohorts again:  chest manifest used-by PATIENT"
        )


def _print_taking(one: Taking) -> None:
    from warehouse.cli.terminal import create_console

    out, under = create_console(), f" under {one.agreement}" if one.agreement else ""
    print_indented(out, f"{one.at:%Y-%m-%d %H:%M}  {one.kind}{under}: {one.what}, by {one.who}", 0, 18)
    facts = [words.format(one.facts[name]) for name, words in _FACTS.items() if one.facts.get(name) not in (None, "")]
    for text in (", ".join(facts), str(one.facts.get("reason", ""))):
        if text:
            print_indented(out, text, 18, 18)
