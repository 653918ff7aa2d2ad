"""chest access verify, register and enforce: the chain of the log, the public register, and the switch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.access_options import By, Out, Shown, find_place, write_text, write_value
from warehouse.cli.output import format_count, print_line, print_note


def verify(
    head: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="HASH", help="The hash of an event that somebody kept; it must still be there."),
    ] = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    form: Out = Shown.TABLE,
) -> None:
    """Verify the log: that no event was changed, removed or moved. Exit code 1 if one was.

    The standing list of withdrawals is compared with what the log states of it.

    Events removed from the end show only by a head that was kept elsewhere: each manifest has one (access in
    manifest.json), and the manifests that the lake has registered are compared without being asked for.

    \b
    Example:
    $ chest access verify --head sha256:4b7c…
    """
    from warehouse.access import heads, log
    from warehouse.access.vocabulary import REPLACEMENT
    from warehouse.withdrawal.recording import verify_list

    place, settings = find_place(lake)
    events, kept = heads.read_with_heads(place, settings)
    problems = [*log.verify_chain(events, [*(head or ()), *kept]), *verify_list(place, settings)]
    last, redacted = log.find_head(events), log.list_redacted(events)
    if form is not Shown.TABLE:
        write_value(
            {
                "events": len(events),
                "head": last.hash if last else None,
                "heads": len(kept),
                "redacted": redacted,
                "problems": problems,
            },
            form,
        )
    else:
        for problem in problems:
            print_line(problem)
        if not problems:
            print_line(f"{format_count(len(events), 'event')}: none was changed, removed or moved.")
        if redacted:
            print_line(
                f"A purge has put {REPLACEMENT!r} in a patient's place in event {', '.join(map(str, redacted))}."
            )
        if last:
            print_line(f"head   {last.hash}")
    if problems:
        print_note("The log is not what was written. Compare it with a backup of the lake.")
        raise typer.Exit(1)


def register(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file: FILE.csv.")] = None,
    lake: options.Lake = options.DEFAULT_LAKE,
) -> None:
    """Write the public Data Use Register: every agreement, in the fields of version 2 of HDR UK's standard, as CSV.

    \b
    Example:
    $ chest access register -o register.csv
    """
    from warehouse.access import data_use_register, log

    place, settings = find_place(lake)
    text, count = data_use_register.render_register(log.read_events(place, settings), settings)
    write_text(text, output)
    print_note(f"{format_count(count, 'agreement')} in the register.")


def enforce(
    switch: Annotated[str, typer.Argument(metavar="on|off", help="Without it, the present state is printed.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it is logged.")] = "",
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
) -> None:
    """Switch the enforcement of agreements on or off, for everybody who uses the lake.

    While it is on, data leave only under an agreement (--agreement ID) that covers them, and every release is logged.

    \b
    Example:
    $ chest access enforce on
    """
    from warehouse.access import log
    from warehouse.access.naming import refuse_names
    from warehouse.access.switch import is_enforced, switch_enforcement
    from warehouse.errors import UsageError

    if switch not in ("", "on", "off"):
        raise UsageError(f"Enforcement is switched on or off, not {switch!r}.")
    place, settings = find_place(lake)
    if switch:
        interruption.mark_writing()
        new = switch_enforcement(switch == "on", by, reason)
        (made,) = log.append(place, settings, new, also=lambda con: refuse_names(con, place, [by, reason]))
        print_note(f"Logged as event {made.number}: {made.hash}")
    state = "on" if is_enforced(log.read_events(place, settings)) else "off"
    print_line(f"Enforcement of agreements is {state}.")
