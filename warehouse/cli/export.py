"""chest export: the data of a day as a folder, one file per view, or as a MEDS dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import options
from warehouse.cli.cohort_options import Param, Tables, prepare
from warehouse.cli.output import Format, format_count, print_line, print_note, write_rows
from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.filesystem import checksums, files

if TYPE_CHECKING:
    from warehouse.cohorts import CohortAnswer
    from warehouse.query.session import Session

#: The views that `chest export` writes. Concepts follow from them, and headers are as large as the bucket's own.
EXPORTED = (
    "patients",
    "clinical",
    "clinical_history",
    "clinical_issues",
    "clinical_changes",
    "completeness",
    "studies",
    "series",
    "images",
)


class Layout(StrEnum):
    """What is written: a file per view in a format, or MEDS."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    XLSX = "xlsx"
    CSV_EXCEL = "csv-excel"
    TABLE = "table"
    MEDS = "meds"


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(export)


def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="A new or empty folder.")],
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: Annotated[Layout, typer.Option("--format", help="parquet, csv, json or meds")] = Layout.PARQUET,
    cohort: Annotated[
        str | None, typer.Option("--cohort", metavar="NAME|FILE.sql", help="With meds: also write its labels.")
    ] = None,
    param: Param = None,
    table: Tables = None,
) -> None:
    """Write all data available on a day to a folder, one file per view: patients, clinical, studies, series, images, …

    With --format meds, the folder is a dataset of the Medical Event Data Standard instead (docs/meds.md).

    \b
    Examples:
    $ chest export --as-of 2020-06-01 -o ./until-june
    $ chest export --format meds --cohort covid_risk -o ./meds
    """
    if form is Layout.TABLE:
        raise UsageError("chest export writes parquet, csv, json or meds, not table. Choose one with --format.")
    if form is not Layout.MEDS and (cohort or param or table):
        raise UsageError(
            "--cohort, --param and --table belong to --format meds. For a cohort's rows:  chest cohort run NAME"
        )
    if (param or table) and not cohort:
        raise UsageError("--param and --table are for a cohort: give --cohort NAME.")
    files.require_vacant(output)
    with options.open_session(lake, as_of, snapshot, group, agreement=agreement, leaves=True) as warehouse:
        shown = warehouse.patients().select("patient_id").fetchall() if warehouse.cover else []
        options.log_release(warehouse, (name for (name,) in shown), to=str(output), form=str(form))
        if form is Layout.MEDS:
            _export_meds(warehouse, output, prepare(warehouse, cohort, param, table) if cohort else None)
        else:
            _export_views(warehouse, output, Format(form))
        day = f" as of {warehouse.day}" if warehouse.day else ""
        print_line(f"{output}: group {warehouse.group_name}{day}, snapshot {warehouse.snapshot.number}")


def _export_views(warehouse: Session, output: Path, form: Format) -> None:
    from warehouse.query.origin import describe_origin

    origin = describe_origin(warehouse)
    try:
        with files.write_folder_atomically(output) as part:
            # A snapshot has only the views that existed when it was published.
            for view in filter(warehouse.has, EXPORTED):
                query = f"from {sql_files.identifier(view)} order by all"
                write_rows(warehouse.con.sql(query), form, part / f"{view}.{form}", origin=origin, is_alone=False)
                print_note(f"{view}.{form}")
            checksums.write_sums(part)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}.") from None


def _export_meds(warehouse: Session, output: Path, cohort: CohortAnswer | None) -> None:
    from warehouse.exports.meds import export_meds

    counts = export_meds(warehouse, output, cohort)
    print_note(
        f"{format_count(counts['subjects'], 'subject')}, {format_count(counts['events'], 'event')}, "
        f"{format_count(counts['codes'], 'code')}, {format_count(counts['labels'], 'label')}"
    )
