"""chest cohort attrition, compare, risk: what steps leave, how answers differ, what goes with a label."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.cohort import Name, Param, TableOrJson, cohort, needs_table_or_json, parameters
from warehouse.cli.output import Format, note, write, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.cohorts.compare import Difference
    from warehouse.cohorts.risk import Risk
    from warehouse.reader import Warehouse


@cohort.command()
def attrition(
    name: Name,
    param: Param = None,
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
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
def compare(
    name: Name,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="DAY|SNAPSHOT", help="A day or a snapshot; as --to without it.")
    ] = None,
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
    with _sides(lake, from_, to, group) as (then, now):
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


@contextlib.contextmanager
def _sides(lake: str, from_: str | None, to: str | None, group: str) -> "Iterator[tuple[Warehouse, Warehouse]]":
    """The warehouse at both sides, each at a snapshot, where a number is given, else as of a day.

    Two days share one lake; without a first side both are the second.
    """
    numbers = [int(when) if when and when.isdigit() else None for when in (from_, to)]
    days = [when if number is None else None for when, number in zip((from_, to), numbers, strict=True)]
    with options.opened(lake, days[1], numbers[1], group, trusted=False) as now:
        if numbers[0] is not None or (numbers[1] is not None and days[0]):
            with options.opened(lake, days[0], numbers[0], group, trusted=False) as then:
                yield then, now
        else:
            yield (now.as_of(days[0]) if days[0] else now), now


def _sum_up(before: int, after: int, found: "list[Difference]") -> None:
    from collections import Counter

    changes = Counter(d.change for d in found)
    told = ", ".join(f"{changes[word]:,} {word}" for word in ("came", "left", "changed"))
    note(f"{before:,} rows before, {after:,} after: {told}.")
    for kind, count in Counter(r.kind for d in found for r in d.reasons).most_common():
        note(f"  {count:>6,}  {kind}")


@cohort.command()
def risk(
    name: Name,
    label: Annotated[str, typer.Option("--label", help="The column of the answer that a model is to learn.")],
    param: Param = None,
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
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

    needs_table_or_json(form, "risk")
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
