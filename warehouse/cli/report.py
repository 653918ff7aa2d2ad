"""chest report: a page on the quality of a snapshot."""

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
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write (report.html).")],
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
) -> None:
    """Write one self-contained page on data quality: counts, charts and checks, without values of individual patients.

    Shows studies by month, patients by centre, completeness of each field, repaired values, results of the checks and
    rejects. The page has no scripts and loads nothing; it can be mailed, printed and archived.

    Counts are rounded to multiples of 5 to protect individuals; --suppress 0 shows exact counts.

    \b
    Examples:
    $ chest report --as-of 2020-06-01 -o report.html
    $ chest report --suppress 10 -o to-be-mailed.html
    """
    from warehouse import quality_report

    with options.open_session(
        lake, as_of, snapshot, group, agreement=agreement, leaves=options.is_exact(suppress)
    ) as warehouse:
        options.log_release(warehouse, to=str(output))
        quality_report.write_report(warehouse, output, suppress)
        day = f" as of {warehouse.day}" if warehouse.day else ""
        print_line(f"{output}: group {warehouse.group_name}{day}, snapshot {warehouse.snapshot.number}")
