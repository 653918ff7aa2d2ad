"""chest manifest: the command group; exports manifests and lists those exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from warehouse.cli import manifest_checks, manifest_download, options
from warehouse.cli.cohort_options import Name, Param, parse_parameters
from warehouse.cli.former_names import add_former_name
from warehouse.cli.output import Format, format_size, print_line, print_note, write_json

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
    ):
        manifest.command()(command)
    manifest.command("list")(list_)
    add_former_name(manifest, "repeat", manifest_checks.reproduce)
    app.add_typer(manifest)


def export(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="A new or empty folder.")],
    param: Param = None,
    objects: Annotated[
        str, typer.Option("--objects", help="Any of dcm, json (headers) and clinical, with commas.")
    ] = "dcm,json",
    columns: Annotated[
        str,
        typer.Option(
            "--columns", help="Columns of view images that each row has besides, with commas: InstanceNumber."
        ),
    ] = "",
    suppress: options.Suppress = options.NO_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Write the manifest of a cohort: its objects with sizes, etags and labels, and the question with its parameters.

    If the lake is writable, the manifest is registered there (chest manifest list). --suppress N rounds the printed
    counts only; the manifest itself is complete and identifies patients.

    \b
    Example:
    $ chest manifest export covid_risk --as-of 2020-06-01 -o ./covid-2020-06
    """
    from warehouse import cohorts
    from warehouse.cohorts.attrition import count_steps
    from warehouse.manifests.export import export_manifest

    kinds, names = (
        tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip())) for words in (objects, columns)
    )
    with options.open_session(lake, as_of, snapshot, group, trusted=False) as warehouse:
        answer = cohorts.CohortAnswer.prepare(warehouse, name, parse_parameters(param))
        made = export_manifest(answer, output, objects=kinds, columns=names, say=print_note)
        about = made.about
        if suppress > 1 and form is Format.JSON:
            counted = zip(about["attrition"], count_steps(answer, suppress), strict=True)
            about = {**about, "attrition": [{**step, **count.counts} for step, count in counted]}
    _show_export(about, made.seal, output, form, suppress)


def _show_export(about: dict[str, Any], seal: str, folder: Path, form: Format, suppress: int) -> None:
    """Print what was exported, with rounded counts if requested."""
    from warehouse.disclosure_control import format_rounded, round_count

    true = about["counts"]
    counts: dict[str, Any] = {name: None if n is None else round_count(n, suppress) for name, n in true.items()}
    if suppress > 1:
        if not counts["patients"]:  # the SQL may fix how many images a patient has
            counts.update(dict.fromkeys(counts, 0))
        # Sizes, names, the number of objects (two or three for each image) and row counts of files disclose counts.
        counts["bytes"] = counts["objects"] = None
        about = {k: v for k, v in about.items() if k not in ("without_images", "files")}
        about = {**about, "counts": counts}
    if form is Format.JSON:
        write_json({"folder": str(folder), "seal": seal, **about})
    else:
        day = f", as of {about['as_of']}" if about["as_of"] else ""
        objects = "" if suppress > 1 else f"{counts['objects']:,} objects ({format_size(counts['bytes'])}), "
        print_line(
            f"{folder}: {objects}{counts['patients']:,} patients, {counts['studies']:,} studies, "
            f"{counts['images']:,} images; "
            f"group {about['group']}{day}, snapshot {about['snapshot']}"
        )
        print_line(f"digest {about['digest']}")
        print_line(f"seal   {seal}")
    if "dcm" in about["objects"] and true["images_without_dcm"]:
        some = format_rounded(counts["images_without_dcm"], suppress)
        print_note(f"{some} image(s) have a header but no .dcm: the manifest has no pixels for them.")
    if true["rows_without_images"]:
        some, rows = (format_rounded(counts[name], suppress) for name in ("rows_without_images", "rows"))
        names = "" if suppress > 1 else " (listed in without_images)"
        print_note(f"{some} of {rows} rows have no image{names}.")
    options.note_rounding(suppress)


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
    sandboxed like all untrusted SQL.

    \b
    Examples:
    $ chest manifest list --limit 5
    $ chest manifest list --check
    """
    from warehouse.manifests import register
    from warehouse.query.session import Session

    found = register.list_entries(lake)
    shown = found[:limit]
    if check and shown:
        with Session.open(lake, trusted=False) as newest:
            for entry in shown:
                entry["state"] = register.find_state(entry, newest)
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
