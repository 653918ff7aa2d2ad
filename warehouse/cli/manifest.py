"""chest manifest: the command group; exports manifests and lists those exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import (
    cohort_split,
    interruption,
    manifest_checks,
    manifest_download,
    manifest_past,
    manifest_presign,
    options,
    split_options,
)
from warehouse.cli.cohort_options import Name, Param, Tables, prepare
from warehouse.cli.former_names import add_former_name
from warehouse.cli.output import Format, format_count, format_size, print_line, print_note, write_json

if TYPE_CHECKING:
    from warehouse.cohorts.attrition import Count

manifest = typer.Typer(
    name="manifest",
    help="Manifests: a cohort's answer, object by object, to verify, reproduce, compare and download.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Add the group to the app."""
    for command in (
        export,
        manifest_checks.verify,
        manifest_checks.reproduce,
        manifest_checks.compare,
        manifest_download.download,
        manifest_presign.presign,
    ):
        manifest.command()(command)
    manifest.command("list")(list_)
    manifest.command("used-by")(manifest_past.used_by)
    manifest.command("model")(manifest_past.model)
    add_former_name(manifest, "repeat", manifest_checks.reproduce)
    app.add_typer(manifest)


def export(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="A new or empty folder.")],
    param: Param = None,
    table: Tables = None,
    objects: Annotated[
        str, typer.Option("--objects", help="Any of dcm, json (headers) and clinical, separated by commas.")
    ] = "dcm,json",
    columns: Annotated[
        str,
        typer.Option(
            "--columns", help="Further columns of the view images for each row, separated by commas: InstanceNumber."
        ),
    ] = "",
    train: split_options.Train = None,
    tune: split_options.Tune = None,
    test: split_options.Test = None,
    by: split_options.By = None,
    hold_out_centre: split_options.HoldOutCentre = None,
    hold_out_after: split_options.HoldOutAfter = None,
    seed: split_options.Seed = None,
    copy_tables: Annotated[
        bool, typer.Option("--copy-tables", help="Put a copy of your own tables (--table) beside the manifest.")
    ] = False,
    suppress: options.Suppress = options.NO_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Write the manifest of a cohort: its objects with sizes, etags and labels, and the question with its parameters.

    With any share, hold-out or seed it has a column split (chest cohort split). A column split that has a patient, an
    image or equal bytes on two sides ends the export with exit code 1.

    If the lake is writable, the manifest is registered there (chest manifest list). With --suppress N only a rounded
    number of patients is printed, and no digest; the manifest itself is complete and identifies patients.

    \b
    Examples:
    $ chest manifest export covid_risk --as-of 2020-06-01 -o ./covid-2020-06
    $ chest manifest export covid_risk --train 70 --tune 15 --test 15 --seed 1 -o ./covid-split
    """
    from warehouse.cohorts.attrition import count_steps
    from warehouse.cohorts.balance import describe_sides
    from warehouse.manifests.export import export_manifest

    interruption.mark_writing()
    kinds, names = options.split_words(objects), options.split_words(columns)
    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=True
    ) as warehouse:
        answer = prepare(warehouse, name, param, table)
        rule = split_options.parse_split(train, tune, test, by, hold_out_centre, hold_out_after, seed)
        answer = answer.split(rule) if rule else answer
        made = export_manifest(
            answer, output, objects=kinds, columns=names, copy_tables=copy_tables, suppress=suppress, warn=print_note
        )
        if rule:
            cohort_split.note_left_out(describe_sides(answer, suppress=suppress), suppress)
        shown = _hide_counts(made.about, count_steps(answer, suppress), suppress) if suppress else made.about
    _show_export(shown, made.seal, output, form, suppress)
    _note_gaps(made.about, suppress)
    options.note_rounding(suppress)


def _hide_counts(about: dict[str, Any], steps: Sequence[Count], suppress: int) -> dict[str, Any]:
    """Round the numbers of patients, and leave out everything that is a number of something else, or that confirms one.

    The SQL may fix how many studies, images or objects a patient has. A digest confirms a guess of all rows; the seal
    stays, because it also covers the time of the export.
    """
    from warehouse.disclosure_control import round_count

    kept = {name: value for name, value in about.items() if name not in ("digest", "without_images", "files", "tables")}
    attrition = [{**step, **count.counts} for step, count in zip(about["attrition"], steps, strict=True)]
    patients = round_count(about["counts"]["patients"], suppress)
    return {**kept, "counts": {**dict.fromkeys(about["counts"]), "patients": patients}, "attrition": attrition}


def _show_export(about: dict[str, Any], seal: str, folder: Path, form: Format, suppress: int) -> None:
    """Print what was exported; with rounded counts, numbers of patients alone."""
    counts = about["counts"]
    if form is Format.JSON:
        write_json({"folder": str(folder), "seal": seal, **about})
        return
    day = f", as of {about['as_of']}" if about["as_of"] else ""
    place = f"group {about['group']}{day}, snapshot {about['snapshot']}"
    if suppress:
        print_line(f"{folder}: {counts['patients']:,} patients; {place}")
    else:
        print_line(
            f"{folder}: {counts['objects']:,} objects ({format_size(counts['bytes'])}), "
            f"{counts['patients']:,} patients, {counts['studies']:,} studies, {counts['images']:,} images; {place}"
        )
        print_line(f"digest {about['digest']}")
    print_line(f"seal   {seal}")


def _note_gaps(about: dict[str, Any], suppress: int) -> None:
    """Print a note on images without pixels and rows without images; no number if counts are rounded."""
    counts = about["counts"]
    if "dcm" in about["objects"] and (n := counts["images_without_dcm"]):
        some = "Some images have" if suppress else f"{format_count(n, 'image')} {'has' if n == 1 else 'have'}"
        print_note(f"{some} a header but no .dcm: the manifest has no pixels for them.")
    if "dcm" not in about["objects"] and (n := counts.get("headers_in_dcm", 0)):
        some = "Some images have" if suppress else f"{format_count(n, 'image')} {'has' if n == 1 else 'have'}"
        print_note(f"{some} no .json: the header is in the .dcm. Take these too:  --objects dcm,json")
    if n := counts["rows_without_images"]:
        some = "Some rows" if suppress else f"{n:,} of {counts['rows']:,} rows"
        print_note(f"{some} have no image{'' if suppress else ' (listed in without_images)'}.")


def list_(
    lake: options.Lake = options.DEFAULT_LAKE,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Number of manifests shown, newest first.")] = 20,
    check: Annotated[
        bool,
        typer.Option("--check/--no-check", help="Run each cohort again, sandboxed, and mark changed answers."),
    ] = False,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """List the manifests exported from a lake.

    With --check each cohort is run again, and those whose answer has changed are marked. This runs other people's SQL,
    sandboxed like all untrusted SQL. Where the lake enforces agreements, neither SQL nor parameters are shown, since
    they may name patients.

    \b
    Examples:
    $ chest manifest list --limit 5
    $ chest manifest list --check
    """
    from warehouse.manifests import register
    from warehouse.query.session import Session, attach_as

    found = register.list_entries(lake)
    shown = found[:limit]
    if check and shown:
        with attach_as(Session, lake, trusted=False) as newest:
            is_shown = not options.find_base(newest)
            for entry in shown:
                entry["state"] = register.find_state(entry, newest, is_shown=is_shown)
    register.hide_texts(lake, shown)
    if form is Format.JSON:
        write_json(shown)
    else:
        _show_entries(shown)
    if len(found) > limit:
        print_note(f"{len(found) - limit:,} older ones not shown: --limit {len(found)}")


def _show_entries(rows: list[dict[str, Any]]) -> None:
    from warehouse.cli.terminal import create_console, create_table

    if not rows:
        print_note("No manifest is registered in this lake yet:  chest manifest export NAME -o DIR")
        return
    rows_shown = create_table()
    is_checked = "state" in rows[0]
    names = ("exported", "by", "cohort", "as of", "objects", "digest")
    for name in (*names, "answer today") if is_checked else names:
        whole = name in ("exported", "digest", "as of")
        rows_shown.add_column(name, justify="right" if name == "objects" else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        state = row.get("state", "")
        rows_shown.add_row(
            f"{row['created_at']:%Y-%m-%d}",
            row["created_by"],
            row["cohort"],
            str(row["as_of"] or ""),
            f"{row['n_objects']:,}",
            row["digest"].removeprefix("sha256:")[:12],
            *([state] if is_checked else []),
            style="" if state in ("", "same") else "yellow",
        )
    create_console().print(rows_shown)
    if not is_checked:
        print_note("To see whether the answers have changed:  chest manifest list --check")
