"""chest cohort: list, show, run and lint the cohorts of sql/cohorts or your own files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from warehouse.cli import cohort_examples, cohort_patients, cohort_reports, cohort_split, options, table1
from warehouse.cli.cohort_options import (
    Name,
    Param,
    Tables,
    log_release,
    needs_permit,
    note_tables,
    parse_parameters,
    parse_tables,
    prepare,
)
from warehouse.cli.former_names import add_former_name
from warehouse.cli.output import Format, format_count, is_parquet, print_line, print_note, write_json, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.cohorts import Problem


cohort = typer.Typer(
    name="cohort",
    help="Cohorts: named questions in SQL whose rows name patients, studies, series or images (docs/cohorts.md).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Add the group to the app, with the reports of cohort_reports.py, table 1, the split and single patients."""
    reports = (cohort_reports.attrition, cohort_reports.compare, cohort_reports.confounders, table1.table1)
    for command in (*reports, cohort_split.split, cohort_patients.why, cohort_patients.excluded):
        cohort.command()(command)
    cohort.command("test")(cohort_examples.run_examples)
    add_former_name(cohort, "risk", cohort_reports.confounders)
    app.add_typer(cohort)


@cohort.command("list")
def list_(form: options.TableOrJson = Format.TABLE) -> None:
    """List the shipped cohorts: name, grain, title, question, parameters; no lake is needed.

    \b
    Example:
    $ chest cohort list
    """
    from warehouse.cohorts import list_shipped, load
    from warehouse.cohorts.description import describe_definition

    known = [load(name) for name in list_shipped()]
    if form is Format.JSON:
        write_json([describe_definition(definition) for definition in known])
        return
    from warehouse.cli.terminal import create_console

    out = create_console()
    for definition in known:
        out.print(f"{definition.name}  ({definition.grain})", style="bold")
        out.print(f"  {definition.title}")
        out.print(f"  {definition.question}")
        if definition.params:
            out.print(f"  --param {', '.join(p.name for p in definition.params)}")
    print_note("Details and steps of a cohort:  chest cohort show NAME")


@cohort.command()
def show(name: Name, form: options.TableOrJson = Format.TABLE) -> None:
    """Show a cohort: question, limits, parameters, labels, steps and SQL; no lake is needed.

    \b
    Example:
    $ chest cohort show covid_risk
    """
    from warehouse import settings
    from warehouse.cohorts import load
    from warehouse.cohorts.description import describe_definition
    from warehouse.engine import limits

    with limits.limit_resources(settings.load_settings()):
        definition = load(name)
    if form is Format.JSON:
        write_json({**describe_definition(definition), "sql": definition.sql})
        return
    from warehouse.cli.terminal import create_console

    out = create_console()
    out.print(f"{definition.title} ({definition.name})", style="bold")
    out.print(definition.question)
    for title, text in (("Definition", definition.definition), ("Limits", definition.limits)):
        if text:
            out.print("")
            out.print(f"{title}. {text}")
    out.print("")
    out.print(f"A row is: {definition.grain} ({definition.grain_column})")
    _print_section(out, "Parameters", [(f"{p.name} {p.type} = {p.default}", p.meaning) for p in definition.params])
    _print_section(out, "Labels", list(definition.labels.items()))
    tables = [(name, ", ".join(map(" ".join, kinds.items()))) for name, kinds in definition.declared_tables.items()]
    _print_section(out, "Tables of your own (--table NAME=FILE)", tables)
    _print_section(out, "Steps", [(f"{s.name} (line {s.line})", s.meaning) for s in definition.steps])
    out.print("")
    out.print(f"{definition.path}:", style="bold")
    out.print("")
    body = definition.sql.splitlines()
    first = next(at for at, line in enumerate(body) if line.strip() and not line.startswith("--"))
    for number, line in enumerate(body[first:], first + 1):
        out.print(f"{number:>4}  {line}", soft_wrap=True)


def _print_section(out: Any, title: str, rows: list[tuple[str, str]]) -> None:
    from warehouse.cli.terminal import create_table

    if not rows:
        return
    out.print("")
    out.print(title, style="bold")
    rows_shown = create_table(show_header=False, padding=(0, 2, 0, 0))
    for name, meaning in rows:
        rows_shown.add_row(f"  {name}", meaning)
    out.print(rows_shown)


@cohort.command()
def run(
    name: Name,
    param: Param = None,
    table: Tables = None,
    suppress: options.Suppress = options.NO_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """Run a cohort and write its rows, ordered by what they identify.

    --suppress N prints a rounded number of patients instead of the number of rows; the rows themselves are complete
    and identify patients.

    \b
    Examples:
    $ chest cohort run covid_risk --as-of 2020-06-01
    $ chest cohort run mine.sql --param centres=Leeds --param centres=Oxford -o mine.csv
    """
    from warehouse.cohorts.attrition import count_patients
    from warehouse.cohorts.digest import compute_digest
    from warehouse.disclosure_control import format_rounded
    from warehouse.query.origin import describe_origin

    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=True
    ) as warehouse:
        found = prepare(warehouse, name, param, table)
        origin = describe_origin(warehouse, compute_digest(found) if is_parquet(form, output) else None)
        log_release(found, to=str(output) if output else None)
        write_rows(found.relation(), form, output, origin=origin)
        day = f" as of {warehouse.day}" if warehouse.day else ""
        n_rows = found.rows.num_rows
        if suppress and n_rows:
            counted = f"{format_rounded(count_patients(found, suppress), suppress)} patients, one row"
        else:
            counted = f"{format_count(n_rows, 'row')}, one"
        print_note(f"{counted} for each {found.definition.grain}{day}, snapshot {warehouse.snapshot.number}")


@cohort.command()
def lint(
    name: Name,
    param: Param = None,
    table: Tables = None,
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Check a cohort for errors before it runs, and for leakage: facts dated after its images.

    With a lake, such facts are counted in the cohort's answer, and a patient, an image or equal bytes on two sides of
    its column split are errors; without one, possible leakage is listed. Exit code 1 if there are errors; warnings need
    a look. Patients are counted, rounded to multiples of 5; --suppress 0 counts rows, exactly.

    \b
    Examples:
    $ chest cohort lint mine.sql
    $ chest cohort lint mine.sql --lake ./lake --format json
    """
    from warehouse import cohorts, settings
    from warehouse.cohorts import leakage, leaks
    from warehouse.cohorts.tables import read_tables
    from warehouse.engine import limits
    from warehouse.lake import location
    from warehouse.lake.store import exists

    path, problems = name, []
    try:
        with limits.limit_resources(settings.load_settings()):
            definition = cohorts.load(name)
            path = definition.path
            given = parse_parameters(param)
            files = parse_tables(table)
            needed = [f"--param {p.name}" for p in definition.params if p.default is None and p.name not in given]
            needed += [f"--table {name}" for name in definition.declared_tables if name not in files]
            is_there = exists(location.parse_address(lake))
            if is_there and not needed:
                with options.open_session(
                    lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=options.is_exact(suppress)
                ) as warehouse:
                    if needs_permit(warehouse, name, given):
                        needed = ["--agreement ID"]
                    else:
                        asked = prepare(warehouse, name, param, table)
                        problems = [*definition.warnings, *leakage.find_warnings(definition, asked, suppress)]
                        problems += leaks.find_problems(asked, suppress)
            if needed or not is_there:
                own = read_tables(files, definition.declared_tables, settings.load_settings(), definition.tables_read)
                note_tables(own)
                cohorts.check_definition(definition, None, {known: read.columns for known, read in own.items()})
                problems = [*definition.warnings, *leakage.find_warnings(definition)]
                why = f"Without {needed[0]}" if needed else f"There is no lake at {lake}"
                print_note(f"{why}: possible leakage is listed, not counted.")
    except cohorts.DefinitionError as error:
        problems = error.problems
    _show_problems(path, problems, form)


def _show_problems(path: str, problems: Sequence[Problem], form: Format) -> None:
    """Print the errors and warnings of a cohort's file, ordered by line; exit code 1 if there are errors."""
    problems = sorted(problems, key=lambda p: p.line)
    if form is Format.JSON:
        write_json([{"file": path, "line": p.line, "severity": p.severity, "message": p.message} for p in problems])
    else:
        for problem in problems:
            print_line(f"{path}:{problem.line}: {problem.severity}: {problem.message}")
    errors = sum(p.severity == "error" for p in problems)
    warned = sum(p.severity == "warning" for p in problems)
    print_note(f"{path}: {format_count(errors, 'error')}, {format_count(warned, 'warning')}.")
    if errors:
        raise typer.Exit(1)
