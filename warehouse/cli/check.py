"""chest check: runs the checks of sql/checks and shows faulty rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.output import Format, format_count, print_note, write_json, write_rows
from warehouse.disclosure_control import format_rounded, round_count

if TYPE_CHECKING:
    from warehouse.query.checks import Check, Result
    from warehouse.query.session import Session

#: The style of a check with faulty rows, by severity, on a terminal.
_STYLES = {"blocking": "bold red", "error": "red", "warning": "yellow"}


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(check)


def check(
    name: Annotated[str | None, typer.Argument(help="A single check, with its meaning and faulty rows.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the checks; no lake is needed.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="The most faulty rows shown per check; all are counted.")
    ] = 20,
    suppress: options.Suppress = options.NO_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    unpublished: Annotated[
        bool, typer.Option("--unpublished", help="Check the unpublished state: shows why publishing is blocked.")
    ] = False,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Check the data with the rules of sql/checks and show the faulty rows.

    Exit code 1 if a check of severity blocking or error has rows; warnings need a look and do not fail. Blocking checks
    cover the whole snapshot, the others what --as-of and --group show. A refresh publishes nothing while a blocking
    check has rows: --unpublished shows them. --suppress N shows no rows, and counts the patients that they are of.

    \b
    Examples:
    $ chest check
    $ chest check identifying_text --as-of 2020-06-01 --format json --limit 1000
    $ chest check rows_twice --unpublished
    """
    from warehouse.query import checks

    wanted = [checks.find_definition(name)] if name else list(checks.load_definitions().values())
    if list_:
        _show_list(wanted, form)
        return
    leaves = options.is_exact(suppress) and bool(name or suppress)  # the overview is rounded where it has to be
    with options.open_session(
        lake, as_of, snapshot, group, unpublished=unpublished, agreement=agreement, leaves=leaves
    ) as warehouse:
        options.log_release(warehouse, check=name)
        suppress = suppress or options.find_base(warehouse)
        results = checks.run_checks(warehouse, name, limit=0 if suppress else limit)
        if form is Format.JSON:
            write_json([_to_json(result, suppress) for result in results])
        elif name:
            _show_one(warehouse, results[0], suppress)
        else:
            _show_all(results, suppress)
        options.note_rounding(suppress)
    if any(result.failed for result in results):
        raise typer.Exit(1)


def _describe(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "severity": str(check.severity),
        "title": check.title,
        "meaning": check.meaning,
        "table": check.table,
    }


def _format_row_count(result: Result, suppress: int) -> str:
    """The number of rows; if rounded, of patients, or a dash where the rows name none."""
    if not suppress or not result.n_rows:
        return f"{result.n_rows:,}"
    n = result.n_patients
    return "–" if n is None else format_rounded(round_count(n, suppress), suppress)


def _round_patients(result: Result, suppress: int) -> int | None:
    return None if result.n_patients is None else round_count(result.n_patients, suppress)


def _to_json(result: Result, suppress: int) -> dict[str, Any]:
    return {
        **_describe(result.check),
        **({"patients": _round_patients(result, suppress)} if suppress else {"rows": result.n_rows}),
        "failed": result.failed,
        "faults": result.rows.to_pylist(),
    }


def _show_list(wanted: list[Check], form: Format) -> None:
    if form is Format.JSON:
        write_json([_describe(check) for check in wanted])
        return
    _print_table(("name", "severity", "title"), [((c.name, c.severity, c.title), "") for c in wanted])


def _show_all(results: list[Result], suppress: int) -> None:
    _print_table(
        ("name", "severity", "patients" if suppress else "rows", "title"),
        [
            (
                (r.check.name, r.check.severity, _format_row_count(r, suppress), r.check.title),
                _STYLES[r.check.severity] if r.n_rows else "",
            )
            for r in results
        ],
    )
    found = [r for r in results if r.n_rows]
    failed = sum(r.failed for r in found)
    print_note(f"{format_count(len(results), 'check')}: {failed} failed, {len(found) - failed} with warnings.")
    if found:
        print_note(f"Meaning and faulty rows of a check:  chest check {found[0].check.name}")


def _show_one(warehouse: Session, result: Result, suppress: int) -> None:
    from warehouse.cli.terminal import create_console

    out = create_console()
    out.print(f"{result.check.title} ({result.check.name})", style="bold")
    out.print(result.check.meaning)
    out.print("")
    out.print(f"severity   {result.check.severity}")
    out.print(f"about      {result.check.table}")
    out.print(f"{'patients' if suppress else 'rows    '}   {_format_row_count(result, suppress)}")
    shown = result.rows.num_rows
    if shown:
        out.print("")
        short = tuple(n for n in result.rows.column_names if n not in ("key", "source") and not n.endswith("UID"))
        write_rows(warehouse.con.from_arrow(result.rows), Format.TABLE, None, shown=shown, first=short)
    if shown < result.n_rows and not suppress:  # with rounded counts no rows are shown
        print_note(f"{shown:,} of {result.n_rows:,} rows shown; --limit {result.n_rows} shows all.")


def _print_table(names: tuple[str, ...], rows: list[tuple[tuple[str, ...], str]]) -> None:
    """Print a table whose last column wraps; each row has its style."""
    from warehouse.cli.terminal import create_console, create_table

    rows_shown = create_table()
    for name in names:
        rows_shown.add_column(
            name, justify="right" if name in ("rows", "patients") else "left", no_wrap=name != names[-1]
        )
    for cells, style in rows:
        rows_shown.add_row(*cells, style=style)
    create_console().print(rows_shown)
