"""chest manifest: export, verify, repeat, compare, download and list manifests."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.cohort import Name, Param, TableOrJson, parameters
from warehouse.cli.output import Format, note, size, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.manifests.compare import Difference

#: Differences that are named one by one; --format json has all of them.
_SHOWN = 20

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the manifest.")]
Bucket = Annotated[
    str, typer.Option("--source", help="Another bucket with the same keys; by default the manifest's own.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]

manifest = typer.Typer(
    name="manifest",
    help="Manifests: what a cohort answered, object by object, to verify, repeat, compare and download.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Add the family to the app."""
    app.add_typer(manifest)


def _table_or_json(form: Format, command: str) -> None:
    if form not in (Format.TABLE, Format.JSON):
        raise UsageError(f"chest manifest {command} writes table or json, not {form}.")


@manifest.command()
def export(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    param: Param = None,
    objects: Annotated[str, typer.Option("--objects", help="Of dcm, json (headers) and clinical.")] = "dcm,json",
    suppress: options.Suppress = options.NO_SUPPRESS,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: TableOrJson = Format.TABLE,
) -> None:
    """Write the manifest of a cohort: its objects with sizes, etags and labels, and how it was asked.

    It is recorded in the lake where the lake may be written (chest manifest list). --suppress N rounds the counts that
    are printed; the manifest itself names patients, and has all of them.

    \b
    Example:
    $ chest manifest export covid_risk --as-of 2020-06-01 -o ./covid-2020-06
    """
    from warehouse import cohorts
    from warehouse.manifests.export import export as write_manifest

    _table_or_json(form, "export")
    kinds = tuple(dict.fromkeys(kind.strip() for kind in objects.split(",") if kind.strip()))
    with options.opened(lake, as_of, snapshot, group) as warehouse:
        answer = cohorts.prepare(warehouse, name, parameters(param))
        made = write_manifest(answer, output, objects=kinds, say=note)
    _show_export(made.about, output, form, suppress)


def _show_export(about: dict[str, Any], folder: Path, form: Format, suppress: int) -> None:
    """What was exported, its counts rounded where that is asked for."""
    from warehouse.cohorts.attrition import COUNTED
    from warehouse.disclosure_control import named, round_count

    def rounded(counts: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
        return {**counts, **{n: round_count(counts[n], suppress) for n in names if counts[n] is not None}}

    true = about["counts"]
    counts = rounded(true, true)
    if suppress > 1:
        # What stands beside counts says them as well: sizes, names, the files of so many rows.
        counts["bytes"] = None
        about = {k: v for k, v in about.items() if k not in ("without_images", "files")}
        about = {**about, "counts": counts, "attrition": [rounded(step, COUNTED) for step in about["attrition"]]}
    if form is Format.JSON:
        write_json({"folder": str(folder), **about})
    else:
        day = f", as of {about['as_of']}" if about["as_of"] else ""
        bytes_ = f" ({size(counts['bytes'])})" if counts["bytes"] is not None else ""
        typer.echo(
            f"{folder}: {counts['objects']:,} objects{bytes_}, "
            f"{counts['patients']:,} patients, {counts['studies']:,} studies, {counts['images']:,} images; "
            f"group {about['group']}{day}, snapshot {about['snapshot']}"
        )
        typer.echo(about["digest"])
    if "dcm" in about["objects"] and true["images_without_dcm"]:
        some = named(counts["images_without_dcm"], suppress)
        note(f"Of {some} image(s) there is a header and no .dcm: no pixels in the manifest.")
    if true["rows_without_images"]:
        some, rows = (named(counts[name], suppress) for name in ("rows_without_images", "rows"))
        names = "" if suppress > 1 else " (without_images names them)"
        note(f"{some} of {rows} rows have no image{names}.")
    options.note_rounding(suppress)


@manifest.command()
def verify(
    folder: Folder,
    source: Bucket = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: TableOrJson = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Compare a manifest with its bucket: what is present, missing, changed, and superseded by something newer.

    Where there is a lake, patients who are no longer in it are named as well. Exit code 1 unless all is as it was.

    \b
    Example:
    $ chest manifest verify ./covid-2020-06 --source s3://chest-data-warehouse
    """
    from warehouse.cli.progress import reporting
    from warehouse.manifests import verify as verifying
    from warehouse.manifests.manifest import named, open_manifest

    _table_or_json(form, "verify")
    opened = open_manifest(folder)
    with reporting(quiet=quiet) as report:
        found = verifying.verify(opened, source=source, lake_address=verifying.lake_of(lake), progress=report)
    if form is Format.JSON:
        write_json(
            {
                "manifest": str(folder),
                "digest": opened.digest,
                "holds": found.holds,
                **found.counts,
                "by_size": found.by_size,
                "patients_gone": found.patients_gone,
                "problems": found.problems.to_pylist(),
            }
        )
    else:
        typer.echo(f"{folder}: " + ", ".join(f"{count:,} {status}" for status, count in found.counts.items()))
        if found.by_size:
            note(f"{found.by_size:,} could be compared by their size alone: the etags are of another bucket.")
        _show(found.problems.to_pylist(), "status")
    if found.patients_gone:
        note(f"No longer there: {len(found.patients_gone):,} patients: {named(found.patients_gone, 20)}")
    if not found.holds:
        raise typer.Exit(1)


def _show(rows: list[dict[str, Any]], what: str) -> None:
    for row in rows[:_SHOWN]:
        typer.echo(f"  {row[what]:<11} {row['key']}  {row['detail'] or ''}".rstrip())
    if len(rows) > _SHOWN:
        note(f"{len(rows) - _SHOWN:,} more: --format json names all of them.")


@manifest.command()
def repeat(
    folder: Folder,
    lake: options.Lake = options.DEFAULT_LAKE,
    newest: Annotated[bool, typer.Option("--newest", help="Ask the newest snapshot, of any lake.")] = False,
    form: TableOrJson = Format.TABLE,
) -> None:
    """Ask a manifest's cohort again, at its snapshot and as of its day: the digest must be the same.

    Exit code 1 when it is not, when the snapshot is gone, or when a patient is no longer in the warehouse.

    \b
    Example:
    $ chest manifest repeat ./covid-2020-06
    """
    from warehouse.manifests import repeat as repeating
    from warehouse.manifests.manifest import named, open_manifest

    _table_or_json(form, "repeat")
    opened = open_manifest(folder)
    found = repeating.repeat(opened, lake, newest=newest)
    if form is Format.JSON:
        write_json(
            {
                "manifest": str(folder),
                "digest": opened.digest,
                "repeated_digest": found.digest,
                "is_same_digest": found.difference.is_same,
                "is_same_csv": found.is_same_csv,
                "patients_gone": found.patients_gone,
                "differences": found.difference.objects.to_pylist(),
            }
        )
    else:
        csv = "the same CSV to the byte" if found.is_same_csv else "another CSV (etags or places)"
        if found.difference.is_same:
            typer.echo(f"{folder}: the same digest, {csv}")
        else:
            typer.echo(f"{folder}: another answer, {found.digest}")
            _show_difference(found.difference)
    if found.patients_gone:
        note(f"No longer in the lake: {len(found.patients_gone):,} patients: {named(found.patients_gone, 20)}")
    if not found.holds or not (found.is_same_csv or newest):
        raise typer.Exit(1)


@manifest.command()
def compare(
    old: Annotated[Path, typer.Argument(metavar="DIR1", help="Folder of a manifest.")],
    new: Annotated[Path, typer.Argument(metavar="DIR2", help="Folder of another.")],
    form: TableOrJson = Format.TABLE,
) -> None:
    """Say how a manifest differs from another: what was asked, and which objects came, went and changed.

    Exit code 1 when their contents differ.

    \b
    Example:
    $ chest manifest compare ./covid-2020-06 ./covid-2020-07
    """
    from warehouse.manifests.compare import compare as compare_manifests
    from warehouse.manifests.manifest import open_manifest

    _table_or_json(form, "compare")
    found = compare_manifests(open_manifest(old), open_manifest(new))
    if form is Format.JSON:
        write_json(
            {
                "is_same": found.is_same,
                "asked": found.asked,
                **found.counts,
                "differences": found.objects.to_pylist(),
            }
        )
    else:
        typer.echo("The same content." if found.is_same else "Other content.")
        _show_difference(found)
    if not found.is_same:
        raise typer.Exit(1)


def _show_difference(found: "Difference") -> None:
    for words, (before, after) in found.asked.items():
        typer.echo(f"  {words}: {before} is now {after}")
    typer.echo("  " + ", ".join(f"{count:,} {change}" for change, count in found.counts.items()))
    _show(found.objects.to_pylist(), "change")


@manifest.command()
def download(
    folder: Folder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the objects go, each under its key.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Objects fetched at once.")] = 32,
    source: Bucket = "",
    form: TableOrJson = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Fetch a manifest's objects, each checked; run again, it goes on where it was, and fetches what is corrupted.

    Exit code 1 when an object could not be had; the folder is then marked INCOMPLETE.

    \b
    Example:
    $ chest manifest download ./covid-2020-06 -o ./data
    """
    from warehouse.cli.progress import reporting
    from warehouse.manifests import download as downloading
    from warehouse.manifests.checksums import How
    from warehouse.manifests.manifest import open_manifest

    _table_or_json(form, "download")
    opened = open_manifest(folder)
    with reporting(quiet=quiet) as report:
        found = downloading.download(opened, output, workers=workers, source=source, progress=report)
    if form is Format.JSON:
        write_json(
            {
                "folder": str(output),
                "complete": not found.failed,
                "fetched": found.fetched,
                "kept": found.kept,
                "bytes": found.bytes,
                "checked": dict(found.checks),
                "failed": [{"key": key, "reason": reason} for key, reason in found.failed],
            }
        )
    else:
        typer.echo(f"{output}: {found.fetched:,} objects fetched ({size(found.bytes)}), {found.kept:,} were there")
        checked = ", ".join(f"{count:,} by {how}" for how, count in found.checks.most_common())
        if checked:
            typer.echo(f"checked: {checked}")
    if by_size := found.checks[How.SIZE]:
        note(f"{by_size:,} objects have no checksum that could be checked: only their sizes were.")
    downloading.raise_for_failed(opened, output, found)


@manifest.command("list")
def list_(
    lake: options.Lake = options.DEFAULT_LAKE,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Manifests shown, the newest first.")] = 20,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Ask each cohort again, to mark answers that have changed.")
    ] = True,
    form: TableOrJson = Format.TABLE,
) -> None:
    """List the manifests that were exported from a lake, and mark those whose cohort answers otherwise by now.

    \b
    Example:
    $ chest manifest list --limit 5
    """
    from warehouse.manifests import register
    from warehouse.reader import open as open_warehouse

    _table_or_json(form, "list")
    found = register.entries(lake)
    shown = found[:limit]
    if check and shown:
        with open_warehouse(lake) as newest:
            for entry in shown:
                entry["state"] = register.state(entry, newest)
    if form is Format.JSON:
        write_json(shown)
    else:
        _show_entries(shown)
    if len(found) > limit:
        note(f"{len(found) - limit:,} older ones: --limit {len(found)}")


def _show_entries(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        note("No manifest was recorded in this lake yet:  chest manifest export NAME -o DIR")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("exported", "by", "cohort", "as of", "objects", "digest", "answer by now"):
        whole = name in ("exported", "digest", "as of")
        table.add_column(name, justify="right" if name == "objects" else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        state = row.get("state", "")
        table.add_row(
            f"{row['created_at']:%Y-%m-%d}",
            row["created_by"],
            row["cohort"],
            str(row["as_of"] or ""),
            f"{row['n_objects']:,}",
            row["digest"].removeprefix("sha256:")[:12],
            state,
            style="" if state in ("", "same") else "yellow",
        )
    Console(markup=False, highlight=False).print(table)
