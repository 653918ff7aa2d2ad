"""chest cohort: list, show and run the cohorts of sql/cohorts, or files of one's own."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.output import Format, note, write, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.cohorts import Definition
    from warehouse.cohorts.compare import Difference
    from warehouse.cohorts.risk import Risk
    from warehouse.reader import Warehouse

Name = Annotated[str, typer.Argument(metavar="NAME|FILE.sql", help="A shipped cohort (chest cohort list) or a file.")]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="A parameter; a list takes several of them, or NAME=@FILE with a value a line.",
    ),
]
Suppress = Annotated[int, typer.Option("--suppress", min=0, help="Hide counts under this; 0 hides nothing.")]
TableOrJson = Annotated[Format, typer.Option("--format", help="table or json")]

cohort = typer.Typer(
    name="cohort",
    help="Cohorts: named questions in SQL whose rows name patients, studies, series or images (docs/cohorts.md).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Add the family to the app."""
    app.add_typer(cohort)


def parameters(words: list[str] | None) -> dict[str, object]:
    """`name=value` words as parameters: a name said again makes a list, `@FILE` reads one, a value a line."""
    found: dict[str, object] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--param {word!r}: say name=value, as in --param centre=Leeds.")
        values = _lines(Path(value[1:])) if value.startswith("@") else [value]
        before = found.get(name)
        if before is None and not value.startswith("@"):
            found[name] = value
        else:
            found[name] = [*(before if isinstance(before, list) else [] if before is None else [before]), *values]
    return found


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.") from None


def _table_or_json(form: Format, command: str) -> None:
    if form not in (Format.TABLE, Format.JSON):
        raise UsageError(f"chest cohort {command} writes table or json, not {form}.")


@cohort.command("list")
def list_(form: TableOrJson = Format.TABLE) -> None:
    """List the shipped cohorts: name, grain, title, question, parameters; no lake is needed.

    \b
    Example:
    $ chest cohort list
    """
    from warehouse.cohorts import load, shipped

    _table_or_json(form, "list")
    known = [load(name) for name in shipped()]
    if form is Format.JSON:
        write_json([_about(definition) for definition in known])
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    for definition in known:
        console.print(f"{definition.name}  ({definition.grain})", style="bold")
        console.print(f"  {definition.title}")
        console.print(f"  {definition.question}")
        if definition.params:
            console.print(f"  --param {', '.join(p.name for p in definition.params)}")
    note("What a cohort does, step by step:  chest cohort show NAME")


def _about(definition: "Definition") -> dict[str, Any]:
    return {
        "name": definition.name,
        "title": definition.title,
        "question": definition.question,
        "definition": definition.definition,
        "limits": definition.limits,
        "grain": definition.grain,
        "params": [
            {"name": p.name, "type": p.type, "default": p.default, "meaning": p.meaning} for p in definition.params
        ],
        "labels": definition.labels,
        "steps": [{"name": s.name, "line": s.line, "meaning": s.meaning, "reads": s.reads} for s in definition.steps],
    }


@cohort.command()
def show(name: Name, form: TableOrJson = Format.TABLE) -> None:
    """Show a cohort: what it asks, its limits, parameters, labels and steps, and its SQL; no lake is needed.

    \b
    Example:
    $ chest cohort show covid_risk
    """
    from warehouse.cohorts import load

    _table_or_json(form, "show")
    definition = load(name)
    if form is Format.JSON:
        write_json({**_about(definition), "sql": definition.sql})
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    console.print(f"{definition.title} ({definition.name})", style="bold")
    console.print(definition.question)
    for title, text in (("Definition", definition.definition), ("Limits", definition.limits)):
        if text:
            console.print(f"\n{title}. {text}")
    console.print(f"\nA row is: {definition.grain} ({definition.grain_column})")
    _section(console, "Parameters", [(f"{p.name} {p.type} = {p.default}", p.meaning) for p in definition.params])
    _section(console, "Labels", list(definition.labels.items()))
    _section(console, "Steps", [(f"{s.name} (line {s.line})", s.meaning) for s in definition.steps])
    console.print(f"\n{definition.path}:\n", style="bold")
    body = definition.sql.splitlines()
    first = next(at for at, line in enumerate(body) if line.strip() and not line.startswith("--"))
    for number, line in enumerate(body[first:], first + 1):
        console.print(f"{number:>4}  {line}", soft_wrap=True)


def _section(console: Any, title: str, rows: list[tuple[str, str]]) -> None:
    from rich.table import Table

    if not rows:
        return
    console.print(f"\n{title}", style="bold")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, meaning in rows:
        table.add_row(f"  {name}", meaning)
    console.print(table)


@cohort.command()
def run(
    name: Name,
    param: Param = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """Run a cohort: its rows, in the order of what they name.

    \b
    Examples:
    $ chest cohort run covid_risk --as-of 2020-06-01
    $ chest cohort run mine.sql --param centres=Leeds --param centres=Oxford -o mine.csv
    """
    from warehouse import cohorts

    with options.opened(lake, as_of, snapshot, group, trusted=False) as warehouse:
        found = cohorts.prepare(warehouse, name, parameters(param))
        write(found.relation(), form, output)
        day = f" as of {warehouse.day}" if warehouse.day else ""
        note(f"{found.rows.num_rows:,} rows, one a {found.definition.grain}{day}, snapshot {warehouse.snapshot.number}")


@cohort.command()
def compare(
    name: Name,
    from_: Annotated[str | None, typer.Option("--from", metavar="DAY|SNAPSHOT", help="A day, or a snapshot.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DAY|SNAPSHOT", help="Likewise; now by default.")] = None,
    with_: Annotated[str | None, typer.Option("--with", help="Another cohort or file, for the second answer.")] = None,
    param: Param = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """Compare a cohort's answers of two days or two snapshots: who came, who left, what changed, and why.

    \b
    Examples:
    $ chest cohort compare covid_risk --from 2020-06-01 --to 2020-07-01
    $ chest cohort compare covid_risk --from 12 --to 14
    $ chest cohort compare covid_risk --with mine.sql
    """
    import pyarrow as pa

    from warehouse import cohorts
    from warehouse.cohorts import compare as comparing

    if from_ is None and with_ is None:
        raise UsageError("Say --from a day or a snapshot, or --with another cohort.")
    given = parameters(param)
    with _side(lake, from_, group) as then, _side(lake, to, group) as now:
        old = cohorts.prepare(then, name, given)
        new = cohorts.prepare(now, with_ or name, given)
        found = comparing.compare(old, new)
        columns = {
            "change": [d.change for d in found],
            old.definition.grain_column: [d.id for d in found],
            "patient_id": [d.patient_id for d in found],
            "step": [d.step for d in found],
            "why": ["; ".join(r.text for r in d.reasons) for d in found],
            "values": ["; ".join(f"{n}: {a} → {b}" for n, (a, b) in d.values.items()) for d in found],
        }
        if old.definition.grain == "patient":
            del columns["patient_id"]
            columns = {"change": columns.pop("change"), "patient_id": [d.id for d in found], **columns}
        write(now.con.from_arrow(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()})), form, output)
        _sum_up(old.rows.num_rows, new.rows.num_rows, found)


def _side(lake: str, when: str | None, group: str) -> "contextlib.AbstractContextManager[Warehouse]":
    """The warehouse at a snapshot, where a number is given, else as of a day."""
    if when is not None and when.isdigit():
        return options.opened(lake, None, int(when), group, trusted=False)
    return options.opened(lake, when, None, group, trusted=False)


def _sum_up(before: int, after: int, found: "list[Difference]") -> None:
    from collections import Counter

    changes = Counter(d.change for d in found)
    told = ", ".join(f"{changes[word]:,} {word}" for word in ("came", "left", "changed"))
    note(f"{before:,} rows before, {after:,} after: {told}.")
    for kind, count in Counter(r.kind for d in found for r in d.reasons).most_common():
        note(f"  {count:>6,}  {kind}")


@cohort.command()
def attrition(
    name: Name,
    param: Param = None,
    suppress: Suppress = 5,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.Answer = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A file: .svg or .png draws the flow, .csv or .json tables it."),
    ] = None,
) -> None:
    """Count what each step of a cohort leaves and loses, as a table or a drawn flow.

    Small counts are hidden, and whatever would tell them; --suppress 0 shows all.

    \b
    Examples:
    $ chest cohort attrition covid_risk
    $ chest cohort attrition covid_risk --as-of 2020-06-01 -o flow.png
    """
    from warehouse import cohorts
    from warehouse.cohorts import attrition as counting
    from warehouse.cohorts import flow

    with options.opened(lake, as_of, snapshot, group, trusted=False) as warehouse:
        found = cohorts.prepare(warehouse, name, parameters(param))
        steps = counting.suppressed(found.steps(), suppress)
        if output and output.suffix.lower() in (".svg", ".png"):
            day = f" as of {warehouse.day}" if warehouse.day else ""
            where = f"{found.definition.name}, group {warehouse.group_name}{day}, snapshot {warehouse.snapshot.number}"
            flow.save(flow.svg(found.definition.title, where, steps), output)
        else:
            write(warehouse.con.from_arrow(counting.table(steps)), form, output)
        if any(step.hidden for step in steps):
            note(
                f"Counts from 1 to {suppress - 1} are hidden, and those that would tell them (--suppress 0 shows all)."
            )


@cohort.command()
def lint(
    name: Name,
    param: Param = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: TableOrJson = Format.TABLE,
) -> None:
    """Look for errors in a cohort before it runs, and for facts that lie after its images.

    Where there is a lake, facts are counted on the cohort's answer; without one, the warnings say what may be. Exit
    code 1 when there are errors; warnings are to be looked at.

    \b
    Examples:
    $ chest cohort lint mine.sql
    $ chest cohort lint mine.sql --lake ./lake --format json
    """
    from warehouse import cohorts, location
    from warehouse.cohorts import leakage
    from warehouse.lake import exists

    _table_or_json(form, "lint")
    path = name
    try:
        definition = cohorts.load(name)
        path = definition.path
        if exists(location.parse(lake)):
            with options.opened(lake, as_of, snapshot, group, trusted=False) as warehouse:
                asked = cohorts.prepare(warehouse, name, parameters(param))
                problems = [*definition.warnings, *leakage.warnings(definition, asked)]
        else:
            cohorts.check(definition)
            problems = [*definition.warnings, *leakage.warnings(definition)]
            note(f"There is no lake at {lake}: what may lie after an image is told, not counted.")
    except cohorts.DefinitionError as error:
        problems = error.problems
    problems = sorted(problems, key=lambda p: p.line)
    if form is Format.JSON:
        write_json([{"file": path, "line": p.line, "severity": p.severity, "message": p.message} for p in problems])
    else:
        for problem in problems:
            typer.echo(f"{path}:{problem.line}: {problem.severity}: {problem.message}")
    errors = sum(p.severity == "error" for p in problems)
    warned = sum(p.severity == "warning" for p in problems)
    note(f"{path}: {errors} errors, {warned} warnings.")
    if errors:
        raise typer.Exit(1)


@cohort.command()
def risk(
    name: Name,
    label: Annotated[str, typer.Option("--label", help="The column of the answer that a model is to learn.")],
    param: Param = None,
    suppress: Suppress = 5,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: TableOrJson = Format.TABLE,
) -> None:
    """Table how far a label goes with centre, scanner, projection, month, sex and age.

    What goes with it is a shortcut: a model may learn it in place of the disease. V is Cramér's, from 0 (nothing in
    common) to 1 (one tells the other), corrected for small tables.

    \b
    Example:
    $ chest cohort risk covid_risk --label covid_status
    """
    from warehouse import cohorts
    from warehouse.cohorts import risk as risks

    _table_or_json(form, "risk")
    with options.opened(lake, as_of, snapshot, group, trusted=False) as warehouse:
        found = risks.risk(cohorts.prepare(warehouse, name, parameters(param)), label, suppress)
    if form is Format.JSON:
        write_json(_risk_json(found))
        return
    _show_risk(found, suppress)


def _risk_json(found: "Risk") -> dict[str, Any]:
    return {
        "label": found.label,
        "rows": found.n_rows,
        "associations": [
            {"first": a.first, "second": a.second, "v": a.v, "v_corrected": a.corrected}
            for a in (*found.with_label, *found.between)
        ],
        "cells": {
            name: [
                {
                    name: row,
                    **{column: table.cells[row, column] for column in table.columns},
                    "all": table.row_totals[row],
                }
                for row in table.rows
            ]
            for name, table in found.cells.items()
        },
        "warnings": found.warnings,
    }


def _show_risk(found: "Risk", least: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in (f"{found.label} with", "V", "corrected"):
        table.add_column(head, justify="left" if head[0] != "V" and head != "corrected" else "right")
    for a in found.with_label:
        table.add_row(a.second, f"{a.v:.2f}", f"{a.corrected:.2f}")
    console.print(table)
    for name, cells in found.cells.items():
        console.print("")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(name)
        for column in (*cells.columns, "all"):
            table.add_column(column, justify="right")
        for row in cells.rows:
            table.add_row(row, *(_shown(cells.cells[row, c]) for c in cells.columns), _shown(cells.row_totals[row]))
        table.add_row("all", *(_shown(cells.column_totals[c]) for c in cells.columns), _shown(cells.total), style="dim")
        console.print(table)
    console.print("")
    for warning in found.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    if least > 1:
        note(f"· stands for a count from 1 to {least - 1}, or one that would tell it (--suppress 0 shows all).")


def _shown(count: int | None) -> str:
    return "·" if count is None else f"{count:,}"
