"""chest cohort table1: who is in a cohort, as a table for people or for a paper."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import options, table1_layout
from warehouse.cli.cohort_options import Name, Param, Tables, log_release, prepare, require_classes
from warehouse.cli.output import write_json
from warehouse.cli.terminal import get_plain_stream
from warehouse.errors import UsageError
from warehouse.filesystem import files

if TYPE_CHECKING:
    from warehouse.cohorts.table1 import Table1


class Form(StrEnum):
    """The forms of a table 1; each but `table` is also the ending of a file."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MD = "md"
    TEX = "tex"
    HTML = "html"
    XLSX = "xlsx"


class Numeric(StrEnum):
    """How ages are summarised."""

    MEAN = "mean"
    MEDIAN = "median"


class Missing(StrEnum):
    """Where missing values count."""

    LEVEL = "level"
    APART = "apart"


def table1(
    name: Name,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="COLUMN", help="A label or another column of the answer, or centre, sex …"),
    ] = None,
    param: Param = None,
    table: Tables = None,
    numeric: Annotated[
        Numeric, typer.Option("--numeric", help="Ages as mean (SD) or as median [Q1,Q3].")
    ] = Numeric.MEAN,
    missing: Annotated[
        Missing, typer.Option("--missing", help="Missing values as a level, in the denominators, or apart.")
    ] = Missing.LEVEL,
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: Annotated[Form | None, typer.Option("--format", help="Output format.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A file: .csv, .json, .md, .tex, .html, .xlsx or .txt (a table)."),
    ] = None,
) -> None:
    """Describe who is in a cohort: age, sex, ethnicity, centre, modality, scanner, severity, outcome of its patients.

    Overall and for each value of --by, with missing values and standardised differences (SMD). Counts are rounded to
    multiples of 5 to protect individuals, and all else is computed from them; --suppress 0 shows exact numbers.

    \b
    Examples:
    $ chest cohort table1 covid_risk --by covid_status
    $ chest cohort table1 covid_risk --by centre --numeric median -o table1.tex
    """
    from warehouse.cohorts.table1 import tabulate_characteristics

    chosen = form or _find_form(output)
    if chosen is Form.XLSX and output is None:
        raise UsageError("An Excel workbook cannot be printed. Write it to a file:  -o FILE.xlsx")
    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=options.is_exact(suppress)
    ) as warehouse:
        found = prepare(warehouse, name, param, table)
        require_classes(found, [by] if by else [])
        made = tabulate_characteristics(found, by, suppress, count_missing=missing is Missing.LEVEL)
        log_release(found, counts_to=suppress, to=str(output) if output else None)
    if output is None:
        _print(made, chosen, numeric)
    else:
        _save(made, chosen, numeric, output)
    options.note_rounding(suppress)


def _find_form(target: Path | None) -> Form:
    ending = target.suffix.lstrip(".").lower() if target else ""
    if target is None or ending == "txt":
        return Form.TABLE
    if ending not in set(Form) - {Form.TABLE}:
        known = ", ".join(f".{form}" for form in Form if form is not Form.TABLE)
        raise UsageError(f"{target}: not a known extension. Use {known} or .txt (a table), or give --format.")
    return Form(ending)


def _print(made: Table1, form: Form, numeric: Numeric) -> None:
    if form is Form.JSON:
        from warehouse.cohorts.table1_data import to_json

        write_json(to_json(made))
    elif form is Form.TABLE:
        table1_layout.print_lines(table1_layout.render_lines(made, numeric, table1_layout.find_width()))
    else:
        # The renderers escape what steers a terminal, except that CSV is for programs.
        to = sys.stdout if sys.stdout.isatty() else get_plain_stream(sys.stdout)
        to.write(made.render(form, numeric=numeric))


def _save(made: Table1, form: Form, numeric: Numeric, target: Path) -> None:
    """Write the table to a file, completely or not at all; UsageError if it cannot be written."""
    import json

    from warehouse.cohorts import table1_data, table1_lines
    from warehouse.text import escape_json

    try:
        if form is Form.XLSX:
            from warehouse.cli import excel

            with files.write_atomically(target) as file:
                head, *rows = table1_lines.list_rows(made, numeric)
                excel.write(head, rows, file)
            return
        with files.write_text_atomically(target) as text:
            if form is Form.JSON:
                text.write(escape_json(json.dumps(table1_data.to_json(made), ensure_ascii=False, indent=2)) + "\n")
            elif form is Form.TABLE:
                text.writelines(
                    f"{line}\n" for line, _ in table1_layout.render_lines(made, numeric, table1_layout.UNLIMITED)
                )
            else:
                text.write(made.render(form, numeric=numeric))
    except BrokenPipeError:  # the target is a named pipe whose reader has closed it
        raise
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
