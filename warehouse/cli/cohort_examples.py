"""chest cohort test: the examples beside a cohort, on the real views over an empty lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.cohort_options import Name
from warehouse.cli.output import Format, format_count, print_line, print_note, write_json


def run_examples(
    name: Name,
    examples: Annotated[
        Path | None,
        typer.Option("--examples", help="The file of examples; NAME.test.txt beside the cohort by default."),
    ] = None,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Run the examples beside a cohort: a few made-up rows, and the answer expected for them (docs/cohorts.md).

    They run on the real views over an otherwise empty lake; no lake of yours is read. Exit code 1 if an answer differs.

    \b
    Example:
    $ chest cohort test covid_risk
    """
    from warehouse.cohorts.examples.running import find_examples
    from warehouse.cohorts.examples.running import run_examples as run

    path = examples or find_examples(name)
    found = run(name, path)
    if form is Format.JSON:
        write_json(
            [
                {
                    "example": one.name,
                    "line": one.line,
                    "holds": one.holds,
                    "missing": one.missing,
                    "unexpected": one.unexpected,
                }
                for one in found
            ]
        )
    failed = [one for one in found if not one.holds]
    for one in failed if form is Format.TABLE else ():
        print_line(f"{path}:{one.line}: {one.name}")
        for row in one.missing:
            print_line(f"  missing     {row}")
        for row in one.unexpected:
            print_line(f"  unexpected  {row}")
    print_note(f"{path}: {format_count(len(found), 'example')}, {len(failed):,} failed.")
    if failed:
        raise typer.Exit(1)
