"""chest report: the quality of a snapshot on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.output import print_line


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(report)


def report(
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write, as report.html.")],
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
) -> None:
    """Write one self-contained page on the quality of the data: counts, charts and checks, nobody's values.

    Shows studies by month, patients by centre, how complete each field is, what was repaired, what the checks found and
    what could not be read. The page loads nothing and runs nothing; it can be mailed, printed and archived.

    Counts are rounded to 5, so that nobody can be counted out; --suppress 0 shows them as they are.

    \b
    Examples:
    $ chest report --as-of 2020-06-01 -o report.html
    $ chest report --suppress 10 -o to-be-mailed.html
    """
    from warehouse import quality_report

    with options.open_session(lake, as_of, snapshot, group) as warehouse:
        quality_report.write_report(warehouse, output, suppress)
        day = f" as of {warehouse.day}" if warehouse.day else ""
        print_line(f"{output}: group {warehouse.group_name}{day}, snapshot {warehouse.snapshot.number}")
