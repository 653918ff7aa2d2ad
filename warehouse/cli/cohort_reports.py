"""chest cohort attrition, compare, confounders: counts per step, differences, associations of a label."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options, table1_layout
from warehouse.cli.cohort_options import (
    Name,
    Param,
    Tables,
    log_release,
    note_tables,
    parse_parameters,
    parse_tables,
    prepare,
    require_classes,
    require_permit,
)
from warehouse.cli.output import Format, print_note, write_json, write_rows
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts import Definition
    from warehouse.cohorts.compare import Difference
    from warehouse.cohorts.compare_summary import Summary
    from warehouse.cohorts.confounding import Confounders
    from warehouse.query.session import Session


#: The columns that matter most where a terminal is narrow.
_COUNTS = ("step", "patients", "patients_lost", "images", "images_lost", "studies")
_WHY = ("change", "patient_id", "why", "step", "values")


def attrition(
    name: Name,
    param: Param = None,
    table: Tables = None,
    demographics: Annotated[
        bool, typer.Option("--demographics", help="How each step shifts age, sex, ethnicity and centre.")
    ] = False,
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.Answer = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A file: .svg or .png for a flow chart, .csv or .json for a table."),
    ] = None,
) -> None:
    """Count what remains after each step of a cohort and what it excludes, as a table or a flow chart.

    Patients are rounded to multiples of 5 to protect individuals, and studies, series and images are not shown, because
    the SQL may fix how many a patient has; --suppress 0 shows exact counts of all.

    \b
    Examples:
    $ chest cohort attrition covid_risk
    $ chest cohort attrition covid_risk --as-of 2020-06-01 -o flow.png
    $ chest cohort attrition covid_risk --demographics -o flow.svg
    """
    from warehouse.cohorts import attrition_chart
    from warehouse.cohorts.attrition import count_steps, to_table
    from warehouse.cohorts.demographics import follow_demographics
    from warehouse.cohorts.demographics import to_table as demographics_table
    from warehouse.query.origin import describe_origin

    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=options.is_exact(suppress)
    ) as warehouse:
        found = prepare(warehouse, name, param, table)
        people = follow_demographics(found, suppress) if demographics else []
        log_release(found, counts_to=suppress, to=str(output) if output else None)
        if output and output.suffix.lower() in (".svg", ".png"):
            day = f" as of {warehouse.day}" if warehouse.day else ""
            where = f"{found.definition.name}, group {warehouse.group_name}{day}, snapshot {warehouse.snapshot.number}"
            steps = count_steps(found, suppress)
            drawn = attrition_chart.render_svg(found.definition.title, where, steps, people, suppress)
            attrition_chart.save_chart(drawn, output)
        elif demographics and output is None and form in (None, Format.TABLE):
            table1_layout.print_demographics(found.definition.title, found.definition.name, people, suppress)
        elif demographics:
            shown = warehouse.con.from_arrow(demographics_table(people))
            write_rows(shown, form, output, origin=describe_origin(warehouse))
        else:
            shown = warehouse.con.from_arrow(to_table(count_steps(found, suppress)))
            write_rows(shown, form, output, first=_COUNTS, origin=describe_origin(warehouse))
        options.note_rounding(suppress)


def compare(
    name: Name,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DAY|SNAPSHOT", help="The first answer: a day or a snapshot; as --to by default."
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DAY|SNAPSHOT", help="The second answer; now by default.")
    ] = None,
    with_: Annotated[str | None, typer.Option("--with", help="Another cohort or file for the second answer.")] = None,
    param: Param = None,
    table: Tables = None,
    suppress: options.Suppress = options.NO_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """Compare a cohort's answers on two days or two snapshots: rows that were added, changed or removed, and why.

    With --suppress N only the summary is written, because the rows identify patients; its rounded counts are of
    patients, not of rows.

    \b
    Examples:
    $ chest cohort compare covid_risk --from 2020-06-01 --to 2020-07-01
    $ chest cohort compare covid_risk --from 12 --to 14
    $ chest cohort compare covid_risk --with mine.sql
    """
    from warehouse import cohorts
    from warehouse.cohorts.compare import compare_answers
    from warehouse.cohorts.compare_summary import summarize_differences
    from warehouse.engine.names import fold_name
    from warehouse.query.origin import describe_origin

    if from_ is None and with_ is None:
        raise UsageError("Nothing to compare with. Give --from DAY or SNAPSHOT, or --with another cohort.")
    given = parse_parameters(param)
    tables, also = parse_tables(table), parse_tables(table)
    if with_:  # each reads its own tables; one that neither reads is an error of the first
        read, read_too = ({fold_name(t) for t in cohorts.load(which).tables_read} for which in (name, with_))
        also = {t: path for t, path in tables.items() if fold_name(t) in read_too}
        tables = {t: path for t, path in tables.items() if fold_name(t) in read or t not in also}
    with _open_sides(lake, from_, to, group, agreement, options.is_exact(suppress)) as (then, now):
        for cohort in (name, with_ or name):
            require_permit(now, cohort, given)
        old = cohorts.CohortAnswer.prepare(then, name, given, tables)
        new = cohorts.CohortAnswer.prepare(now, with_ or name, given, also)
        note_tables({**old.tables, **new.tables})
        if suppress and (output or form):
            raise UsageError("--suppress writes no rows: leave out -o and --format.")
        found = compare_answers(old, new)
        summary = summarize_differences(old, new, found, suppress)
        for answer in (old, new):
            log_release(answer, counts_to=suppress or None)
        if not suppress:
            shown = now.con.from_arrow(_tabulate_differences(found, old.definition))
            write_rows(shown, form, output, first=_WHY, origin=describe_origin(now))
        _print_summary(summary)
        options.note_rounding(suppress)


def _tabulate_differences(found: list[Difference], definition: Definition) -> pa.Table:
    """Tabulate what was added, changed or removed; the id column has the name that it has in the cohort."""
    import pyarrow as pa

    columns = {
        "change": [d.change for d in found],
        definition.grain_column: [d.id for d in found],
        "patient_id": [d.id if definition.grain == "patient" else d.patient_id for d in found],
        "step": [d.step for d in found],
        "why": ["; ".join(r.text for r in d.reasons) for d in found],
        "values": ["; ".join(f"{n}: {a} → {b}" for n, (a, b) in d.values.items()) for d in found],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


@contextlib.contextmanager
def _open_sides(
    lake: str, from_: str | None, to: str | None, group: str, agreement: str, leaves: bool
) -> Iterator[tuple[Session, Session]]:
    """Open a session for each answer: at a snapshot if a number is given, else as of a day.

    Two days share one open lake; without `from_`, both sessions are the second.
    """
    numbers = [int(when) if when and when.isdigit() else None for when in (from_, to)]
    days = [when if number is None else None for when, number in zip((from_, to), numbers, strict=True)]
    under: Any = {"trusted": False, "agreement": agreement, "leaves": leaves}
    with options.open_session(lake, days[1], numbers[1], group, **under) as now:
        if numbers[0] is not None or (numbers[1] is not None and days[0]):
            with options.open_session(lake, days[0], numbers[0], group, **under) as then:
                yield then, now
        else:
            yield (now.as_of(days[0]) if days[0] else now), now


def _print_summary(summary: Summary) -> None:
    """Print how many there were before and after, and the reasons of the differences."""
    counted = f"{summary.added:,} added, {summary.changed:,} changed, {summary.removed:,} removed"
    print_note(f"{summary.before:,} {summary.counted} before, {summary.after:,} after: {counted}.")
    for kind, n in summary.kinds.items():
        print_note(f"  {n:>6,}  {kind}")


def confounders(
    name: Name,
    label: Annotated[str, typer.Option("--label", help="The column of the answer that a model should learn.")],
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
    """Measure the association of a label with centre, scanner, projection, month, sex and age.

    A strong association is a shortcut that a model may learn in place of the disease. V is Cramér's V, from 0 (no
    association) to 1 (one determines the other), also corrected for small tables. Patients are counted, each by its
    first row, and rounded to multiples of 5, and V is computed from the rounded tables; --suppress 0 counts rows,
    exactly.

    \b
    Example:
    $ chest cohort confounders covid_risk --label covid_status
    """
    from warehouse.cohorts import confounding

    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=options.is_exact(suppress)
    ) as warehouse:
        asked = prepare(warehouse, name, param, table)
        require_classes(asked, [label])
        found = confounding.tabulate_confounders(asked, label, suppress)
        log_release(asked, counts_to=suppress)
    if form is Format.JSON:
        write_json(_to_json(found))
        return
    _show_confounders(found)
    if suppress:
        print_note("Counts are of patients, each by its first row.")
    options.note_rounding(suppress)


def _to_json(found: Confounders) -> dict[str, Any]:
    return {
        "label": found.label,
        found.counted: found.total,
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


def _show_confounders(found: Confounders) -> None:
    from warehouse.cli.terminal import create_console, create_table

    out = create_console()
    rows_shown = create_table()
    for head in (f"{found.label} with", "V", "corrected"):
        rows_shown.add_column(head, justify="left" if head[0] != "V" and head != "corrected" else "right")
    for a in found.with_label:
        rows_shown.add_row(a.second, f"{a.v:.2f}", f"{a.corrected:.2f}")
    out.print(rows_shown)
    for name, cells in found.cells.items():
        out.print("")
        rows_shown = create_table()
        rows_shown.add_column(name)
        for column in (*cells.columns, "all"):
            rows_shown.add_column(column, justify="right")
        for row in cells.rows:
            rows_shown.add_row(row, *(f"{cells.cells[row, c]:,}" for c in cells.columns), f"{cells.row_totals[row]:,}")
        totals = (f"{cells.column_totals[c]:,}" for c in cells.columns)
        rows_shown.add_row("all", *totals, f"{cells.total:,}", style="dim")
        out.print(rows_shown)
    out.print("")
    for warning in found.warnings:
        out.print(f"warning: {warning}", style="yellow", soft_wrap=True)
