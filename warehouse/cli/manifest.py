"""chest manifest: export, verify, reproduce, compare, download and list manifests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import options
from warehouse.cli.cohort_options import Name, Param, TableOrJson, parse_parameters
from warehouse.cli.former_names import add_former_name
from warehouse.cli.output import Format, format_size, print_line, print_note, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.manifests.compare import Difference
    from warehouse.manifests.manifest import Manifest
    from warehouse.manifests.registered import Standing

#: Differences that are named one by one; --format json has all of them.
_SHOWN = 20

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the manifest.")]
Bucket = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="BUCKET",
        help="A source of the manifest that the lake does not have; or another bucket with the same keys "
        "(SOURCE=BUCKET where there are several sources). May be repeated.",
    ),
]
Seal = Annotated[str, typer.Option("--seal", help="The seal that the manifest must have, as its sender printed it.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]

manifest = typer.Typer(
    name="manifest",
    help="Manifests: what a cohort answered, object by object, to verify, reproduce, compare and download.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Add the family to the app."""
    add_former_name(manifest, "repeat", reproduce)
    app.add_typer(manifest)


def _opened(folder: Path, seal: str = "") -> "Manifest":
    """A manifest, all of it checked; a note where it has no seal."""
    from warehouse.manifests.manifest import open_manifest

    return open_manifest(folder, seal=seal, say=print_note)


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
    from warehouse.cohorts.attrition import count_steps
    from warehouse.manifests.export import export_manifest

    _table_or_json(form, "export")
    kinds = tuple(dict.fromkeys(kind.strip() for kind in objects.split(",") if kind.strip()))
    with options.open_session(lake, as_of, snapshot, group, trusted=False) as warehouse:
        answer = cohorts.CohortAnswer.prepare(warehouse, name, parse_parameters(param))
        made = export_manifest(answer, output, objects=kinds, say=print_note)
        about = made.about
        if suppress > 1 and form is Format.JSON:
            counted = zip(about["attrition"], count_steps(answer, suppress), strict=True)
            about = {**about, "attrition": [{**step, **count.counts} for step, count in counted]}
    _show_export(about, made.seal, output, form, suppress)


def _show_export(about: dict[str, Any], seal: str, folder: Path, form: Format, suppress: int) -> None:
    """What was exported, its counts rounded where that is asked for."""
    from warehouse.disclosure_control import format_rounded, round_count

    true = about["counts"]
    counts: dict[str, Any] = {name: None if n is None else round_count(n, suppress) for name, n in true.items()}
    if suppress > 1:
        # Sizes, names, the number of objects (two or three for each image) and files of so many rows disclose counts.
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
        print_note(f"Of {some} image(s) there is a header and no .dcm: no pixels in the manifest.")
    if true["rows_without_images"]:
        some, rows = (format_rounded(counts[name], suppress) for name in ("rows_without_images", "rows"))
        names = "" if suppress > 1 else " (without_images names them)"
        print_note(f"{some} of {rows} rows have no image{names}.")
    options.note_rounding(suppress)


@manifest.command()
def verify(
    folder: Folder,
    source: Bucket = None,
    seal: Seal = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: TableOrJson = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Compare a manifest with its bucket: what is present, missing, changed, and superseded by something newer.

    Where there is a lake, patients who are no longer in it are named as well, and whether the lake exported the
    manifest. A bucket that the lake does not have is not listed without --source. Exit code 1 unless all is as it was.

    \b
    Example:
    $ chest manifest verify ./covid-2020-06 --source s3://chest-data-warehouse
    """
    from warehouse.cli.progress import show_progress
    from warehouse.manifests import verify as verifying
    from warehouse.manifests.files import abbreviate

    _table_or_json(form, "verify")
    opened = _opened(folder, seal)
    with show_progress(quiet=quiet) as report:
        found = verifying.verify(opened, source=source or (), lake_address=verifying.find_lake(lake), progress=report)
    if form is Format.JSON:
        write_json(
            {
                "manifest": str(folder),
                "digest": opened.digest,
                "seal": opened.seal or None,
                "holds": found.holds,
                "register": found.standing,
                **found.counts,
                "by_size": found.by_size,
                "patients_gone": found.patients_gone,
                "problems": found.problems.to_pylist(),
            }
        )
    else:
        print_line(f"{folder}: " + ", ".join(f"{count:,} {status}" for status, count in found.counts.items()))
        if found.by_size:
            print_note(f"{found.by_size:,} could be compared by their size alone: the etags are of another bucket.")
        _show(found.problems.to_pylist(), "status")
    if found.patients_gone:
        print_note(f"No longer there: {len(found.patients_gone):,} patients: {abbreviate(found.patients_gone, 20)}")
    _note_standing(found.standing, folder, lake, is_known=bool(seal))
    if not found.holds:
        raise typer.Exit(1)


def _note_standing(standing: "Standing | None", folder: Path, lake: str, *, is_known: bool) -> None:
    """Say what the lake's register has of a manifest, unless it has the very manifest, or its reader knew the seal."""
    from warehouse.lake import location
    from warehouse.manifests.registered import Standing

    name = location.parse_address(lake).name
    if standing is Standing.OTHER_ROWS:
        print_note(
            f"The lake {name} exported this content with other places or etags: {folder} was made anew or altered."
        )
    elif standing is Standing.SAME_ROWS and not is_known:
        print_note(
            f"The lake {name} exported these very rows, in another manifest: all but the rows may have been altered."
        )
    elif standing is Standing.UNKNOWN and not is_known:
        print_note(
            f"The register of the lake {name} does not have this manifest: nothing shows who made it. "
            "Compare its seal with the one that its sender printed:  --seal sha256:…"
        )


def _show(rows: list[dict[str, Any]], what: str) -> None:
    for row in rows[:_SHOWN]:
        print_line(f"  {row[what]:<11} {row['key']}  {row['detail'] or ''}".rstrip())
    if len(rows) > _SHOWN:
        print_note(f"{len(rows) - _SHOWN:,} more: --format json names all of them.")


@manifest.command()
def reproduce(
    folder: Folder,
    seal: Seal = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    newest: Annotated[bool, typer.Option("--newest", help="Ask the newest snapshot, of any lake.")] = False,
    form: TableOrJson = Format.TABLE,
) -> None:
    """Ask a manifest's cohort again, at its snapshot and as of its day: the digest must be the same.

    Exit code 1 when it is not, when the snapshot is gone, or when a patient is no longer in the warehouse.

    \b
    Example:
    $ chest manifest reproduce ./covid-2020-06
    """
    from warehouse import settings
    from warehouse.engine import limits
    from warehouse.manifests.files import abbreviate
    from warehouse.manifests.reproduce import reproduce as reproduce_manifest

    _table_or_json(form, "reproduce")
    opened = _opened(folder, seal)
    with limits.limit_resources(settings.load_settings()):
        found = reproduce_manifest(opened, lake, newest=newest)
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
            print_line(f"{folder}: the same digest, {csv}")
        else:
            print_line(f"{folder}: another answer, {found.digest}")
            _show_difference(found.difference)
    if found.patients_gone:
        print_note(
            f"No longer in the lake: {len(found.patients_gone):,} patients: {abbreviate(found.patients_gone, 20)}"
        )
    if not found.holds or not (found.is_same_csv or newest):
        raise typer.Exit(1)


@manifest.command()
def compare(
    old: Annotated[Path, typer.Argument(metavar="DIR1", help="Folder of a manifest.")],
    new: Annotated[Path, typer.Argument(metavar="DIR2", help="Folder of another.")],
    form: TableOrJson = Format.TABLE,
) -> None:
    """Say how a manifest differs from another: what was asked, and which objects came, went and changed.

    Exit code 1 when their contents or etags differ.

    \b
    Example:
    $ chest manifest compare ./covid-2020-06 ./covid-2020-07
    """
    from warehouse.manifests.compare import compare_manifests

    _table_or_json(form, "compare")
    found = compare_manifests(_opened(old), _opened(new))
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
        same = "The same content." if found.is_unchanged else "The same digest, other etags."
        print_line(same if found.is_same else "Other content.")
        _show_difference(found)
    if not found.is_unchanged:
        raise typer.Exit(1)


def _show_difference(found: "Difference") -> None:
    for words, (before, after) in found.asked.items():
        print_line(f"  {words}: {before} is now {after}")
    print_line("  " + ", ".join(f"{count:,} {change}" for change, count in found.counts.items()))
    _show(found.objects.to_pylist(), "change")


@manifest.command()
def download(
    folder: Folder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the objects go, each under its key.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Objects fetched at once.")] = 32,
    source: Bucket = None,
    seal: Seal = "",
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Also of a manifest of format 1, without a seal.")
    ] = False,
    lake: options.Lake = options.DEFAULT_LAKE,
    form: TableOrJson = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Fetch a manifest's objects, each checked; run again, it goes on where it was, and fetches what is corrupted.

    Nothing is fetched from a bucket that the lake does not have, unless --source names it. Exit code 1 when an object
    could not be had; the folder is then marked INCOMPLETE.

    \b
    Example:
    $ chest manifest download ./covid-2020-06 -o ./data
    """
    from warehouse.cli.progress import show_progress
    from warehouse.manifests import download as downloading
    from warehouse.manifests.checksums import How

    _table_or_json(form, "download")
    opened = _opened(folder, seal)
    with show_progress(quiet=quiet) as report:
        found = downloading.download(
            opened,
            output,
            workers=workers,
            source=source or (),
            lake_address=lake,
            unsealed=unsealed,
            progress=report,
            say=print_note,
        )
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
        print_line(
            f"{output}: {found.fetched:,} objects fetched ({format_size(found.bytes)}), {found.kept:,} were there"
        )
        checked = ", ".join(f"{count:,} by {how}" for how, count in found.checks.most_common())
        if checked:
            print_line(f"checked: {checked}")
    if by_size := found.checks[How.SIZE]:
        print_note(f"{by_size:,} objects have no checksum that could be checked: only their sizes were.")
    downloading.raise_for_failed(opened, output, found)


@manifest.command("list")
def list_(
    lake: options.Lake = options.DEFAULT_LAKE,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Manifests shown, the newest first.")] = 20,
    check: Annotated[
        bool,
        typer.Option("--check/--no-check", help="Ask each cohort again, sandboxed, and mark answers that changed."),
    ] = False,
    form: TableOrJson = Format.TABLE,
) -> None:
    """List the manifests that were exported from a lake.

    With --check each cohort is asked again, and those that answer otherwise by now are marked. That runs the SQL of
    whoever exported it, sandboxed as all untrusted SQL is.

    \b
    Examples:
    $ chest manifest list --limit 5
    $ chest manifest list --check
    """
    from warehouse.manifests import register
    from warehouse.query.session import Session

    _table_or_json(form, "list")
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
        print_note(f"{len(found) - limit:,} older ones: --limit {len(found)}")


def _show_entries(rows: list[dict[str, Any]]) -> None:
    from warehouse.cli.terminal import create_console, create_table

    if not rows:
        print_note("No manifest was recorded in this lake yet:  chest manifest export NAME -o DIR")
        return
    rows_shown = create_table()
    is_checked = "state" in rows[0]
    names = ("exported", "by", "cohort", "as of", "objects", "digest")
    for name in (*names, "answer by now") if is_checked else names:
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
        print_note("Whether each cohort still answers the same:  chest manifest list --check")
