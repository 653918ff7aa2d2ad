"""chest cohort why and excluded: why a patient is not in a cohort, and the step that excluded each one."""

from __future__ import annotations

from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.cohort_options import Name, Param, Tables, prepare
from warehouse.cli.output import print_note, write_rows

#: What a narrow terminal shows of the rows of a patient: the reason, then the row; the note names patient and step.
_REASONS = ("condition", "is", "values", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def why(
    name: Name,
    patient: Annotated[str, typer.Argument(metavar="PATIENT", help="Pseudonym of the patient.")],
    param: Param = None,
    table: Tables = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """Explain why a patient is not in a cohort: the step that excluded them, and the values it is due to.

    Each row of the patient in the step before is listed with the conditions of the step that are false or null for it.

    \b
    Example:
    $ chest cohort why covid_risk Covid20
    """
    from warehouse.cohorts.why import explain_patient, to_table

    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=True
    ) as warehouse:
        found = prepare(warehouse, name, param, table)
        why = explain_patient(found, patient)
        options.log_release(warehouse, [patient])
        if not why.is_in or form or output:
            write_rows(warehouse.con.from_arrow(to_table(why)), form, output, first=_REASONS)
        print_note(str(why))


def excluded(
    name: Name,
    param: Param = None,
    table: Tables = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.Answer = None,
    output: options.Target = None,
) -> None:
    """List the patients who are not in a cohort, one row each, with the step that excluded them.

    \b
    Example:
    $ chest cohort excluded covid_risk -o excluded.csv
    """
    from warehouse.cohorts.exclusion import list_excluded

    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=True
    ) as warehouse:
        found = list_excluded(prepare(warehouse, name, param, table))
        options.log_release(warehouse, found.column("patient_id").to_pylist(), rows=found.num_rows)
        write_rows(warehouse.con.from_arrow(found), form, output, first=found.column_names)
