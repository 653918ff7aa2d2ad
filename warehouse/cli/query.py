"""chest sql, chest patient: queries on the views."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.output import Format, format_count, print_note, write_json, write_rows
from warehouse.errors import UntrustedSqlError, UsageError

if TYPE_CHECKING:
    import duckdb

    from warehouse.query.patient import Patient
    from warehouse.query.session import Session


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(sql)
    app.command()(patient)


def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY|FILE.sql|-", help="One SELECT over the views, a file that contains it, or - for stdin."
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Read the query from a file.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="name=value, for $name in the query (in arithmetic: $name::integer)."),
    ] = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    since: Annotated[
        int | None,
        typer.Option("--since", metavar="SNAPSHOT", help="Add the view changes: rows added, changed or removed since."),
    ] = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.Answer = None,
    output: options.Target = None,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Sandbox a query that somebody else wrote: views only, time limit.")
    ] = False,
    trusted: Annotated[bool, typer.Option("--trusted", hidden=True)] = False,
) -> None:
    """Answer one SELECT over patients, studies, series, images, clinical and the other views (chest describe).

    \b
    Examples:
    $ chest sql "select count(*) from studies" --as-of 2020-06-01
    $ chest sql -f query.sql --param centre=Leeds -o answer.parquet
    $ chest sql --since 12 "select * from changes where change = 'added'"

    It is read-only and reads the published snapshot. Give --untrusted with a query that somebody else wrote: it can
    then read only the views, and is stopped after CHEST_SQL_SECONDS.
    """
    if trusted:
        print_note(
            "--trusted is no longer needed: queries are trusted by default. Give --untrusted for somebody else's query."
        )
    text = _read_query(query, file)
    parameters = dict(_parse_parameter(word) for word in param or [])
    with options.open_session(
        lake, as_of, snapshot, group, trusted=not untrusted, is_ours=False, agreement=agreement, leaves=True
    ) as warehouse:
        import duckdb

        from warehouse.engine.faults import require_lake
        from warehouse.engine.messages import clean_message
        from warehouse.query.origin import describe_origin

        if since is not None:
            from warehouse.query.changes import create_changes_view

            warehouse = warehouse.with_history()  # noqa: PLW2901 - what else is asked is asked there
            create_changes_view(warehouse, since)
        try:
            answer = warehouse.ask(text, parameters)
            if warehouse.cover:
                answer = _release(warehouse, answer, output)
            write_rows(answer, form, output, origin=describe_origin(warehouse))
        except UntrustedSqlError as error:
            raise UsageError(f"{error} If the query is your own, run it without --untrusted.") from None
        except duckdb.Error as error:
            require_lake(error)
            raise UsageError(f"The query failed. {clean_message(error)}") from None


def _release(warehouse: Session, answer: duckdb.DuckDBPyRelation, output: Path | None) -> duckdb.DuckDBPyRelation:
    """Log the answer before it leaves; of which patients it is, if it names them."""
    rows = answer.to_arrow_table()
    named = rows.column("patient_id").to_pylist() if "patient_id" in rows.column_names else None
    options.log_release(warehouse, named, rows=rows.num_rows, to=str(output) if output else None)
    return warehouse.con.from_arrow(rows)


def _read_query(query: str | None, file: Path | None) -> str:
    if (query is None) == (file is None):
        raise UsageError('Give either a query or -f FILE. Example:  chest sql "select count(*) from studies"')
    if query == "-":
        import sys

        return sys.stdin.read()
    if query is not None and (query.split() != [query] or not query.lower().endswith(".sql")):
        return query
    from warehouse.engine.query_text import read_text

    return read_text(file or Path(query or ""))  # a single word that ends in .sql is a file


def _parse_parameter(word: str) -> tuple[str, str | float]:
    """Split into name and value.

    DuckDB casts a string to the type that it is compared with, or refuses it; but it would round '5.7' for an integer
    column, so a value with a fraction is bound as a number.
    """
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--param {word!r} is not name=value. Example: --param centre=Leeds")
    return name, float(value) if re.fullmatch(r"[+-]?[0-9]*\.[0-9]*[1-9][0-9]*", value) else value


def patient(
    patient_id: Annotated[str, typer.Argument(help="Pseudonym of the patient, for example Covid12.")],
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Show the data of one patient as a timeline; --format json includes complete records and objects.

    \b
    Example:
    $ chest patient Covid12 --as-of 2020-06-01
    """
    from warehouse.query.patient import find_patient

    with options.open_session(lake, as_of, snapshot, group, agreement=agreement, leaves=True) as warehouse:
        found = find_patient(warehouse, patient_id)
        options.log_release(warehouse, [patient_id])
        if form is Format.JSON:
            write_json(_collect_all(found))
        else:
            _show_timeline(found)


def _collect_all(patient: Patient) -> dict[str, Any]:
    import json

    return {
        "patient": patient.summary().to_arrow_table().to_pylist()[0],
        "clinical_history": [
            {**row, "record": json.loads(row["record"] or "null")}
            for row in patient.records().to_arrow_table().to_pylist()
        ],
        **{
            view: rows.to_arrow_table().to_pylist()
            for view, rows in (
                ("clinical_changes", patient.clinical_changes()),
                ("clinical_issues", patient.clinical_issues()),
            )
            if rows is not None
        },
        "studies": patient.studies().to_arrow_table().to_pylist(),
        "series": patient.series().to_arrow_table().to_pylist(),
        "images": patient.images().to_arrow_table().to_pylist(),
    }


def _show_timeline(patient: Patient) -> None:
    from warehouse.cli.terminal import create_console

    out = create_console(soft_wrap=True)
    row = patient.summary().to_arrow_table().to_pylist()[0]
    who = [row["patient_id"], row["covid_status"] or "no clinical record", row["submitting_centre"]]
    if row["sex"]:
        who.append(f"sex {row['sex']} (from {row['sex_source']})")
    if row["age"] is not None:
        who.append(f"age {row['age']:g} (from {row['age_source']})")
    out.print(" · ".join(str(word) for word in who if word))
    out.print(
        f"{row['n_studies']} {'study' if row['n_studies'] == 1 else 'studies'}, {row['n_series']} series, "
        f"{format_count(row['n_images'], 'image')} "
        f"(CR {row['n_cr']}, DX {row['n_dx']}, CT {row['n_ct']}, MR {row['n_mr']}, other {row['n_other']})"
    )
    facts = [f"{words} {row[name]}" for name, words in _COURSE.items() if row.get(name)]
    if facts:
        out.print(", ".join(facts).replace(" True", ""))
    changed = _describe_changes(patient)
    out.print("")
    out.print(f"{'day':<12}{'available':<12}{'event':<28}detail")
    for event in patient.timeline().to_arrow_table().to_pylist():
        if event["event"] == "study":
            images = format_count(event["n_images"], "image")
            what = f"{event['what'] or 'study'}, {images}"
            detail = event["detail"] or ""
        else:
            marker = " ← in effect" if event["id"] == row["clinical_key"] else ""
            what, detail = f"{event['what']} record", f"{event['detail'] or ''}{marker}"
        out.print(f"{event['day'] or '?'!s:<12}{event['available_date']!s:<12}{what:<28}{detail}".rstrip())
        for change in changed.get(event["id"], ()):
            out.print(f"{'':<26}{change}")


#: Facts shown of a patient's clinical course, where known.
_COURSE = {
    "date_of_positive_covid_swab": "positive swab",
    "date_of_admission": "admitted",
    "itu_admission": "intensive care",
    "intubation": "intubated",
    "death": "died",
    "date_of_death": "day of death",
}


def _describe_changes(patient: Patient) -> dict[str, list[str]]:
    """Describe the changes of each clinical file, except the first data file after a status file, where all is new."""
    found = patient.clinical_changes()
    rows = found.to_arrow_table().to_pylist() if found is not None else []
    turned = {row["new_key"] for row in rows if row["field"] == "kind"}
    lines: dict[str, list[str]] = {}
    for row in rows:
        if row["new_key"] not in turned:
            old, new = (row[name] if row[name] is not None else "none" for name in ("old_value", "new_value"))
            lines.setdefault(row["new_key"], []).append(f"{row['field']}: {old} → {new}")
    return lines
