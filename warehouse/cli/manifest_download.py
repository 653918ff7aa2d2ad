"""chest manifest download: fetch the objects of a manifest into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.manifest_options import Bucket, Folder, Seal, open_checked
from warehouse.cli.output import Format, format_size, print_line, print_note, write_json

if TYPE_CHECKING:
    from warehouse.manifests.download_job import Downloaded
    from warehouse.manifests.manifest import Manifest

Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the objects.")]
LayoutOption = Annotated[
    str,
    typer.Option(
        "--layout",
        metavar="LAYOUT",
        help="Paths of the files: keys (the default), flat (one folder), or a template of columns such as "
        "'{patient_id}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm'. A folder remembers its own.",
    ),
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Number of parallel downloads.")]


def download(
    folder: Folder,
    output: Output,
    layout: LayoutOption = "",
    workers: Workers = 32,
    source: Bucket = None,
    seal: Seal = "",
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Accept a manifest of format 1, which has no seal.")
    ] = False,
    lake: options.Lake = options.DEFAULT_LAKE,
    agreement: options.Agreement = "",
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Download a manifest's objects and verify each; run again, it resumes, and replaces corrupted files.

    A bucket that the lake does not have is read only if --source names it. Exit code 1 if an object could not be
    downloaded; the folder is then marked INCOMPLETE.

    \b
    Examples:
    $ chest manifest download ./covid-2020-06 -o ./data
    $ chest manifest download ./covid-2020-06 -o ./flat --layout flat
    """
    interruption.mark_writing()
    opened = open_checked(folder, seal)
    run_download(opened, output, layout, workers, source or (), lake, unsealed, form, quiet, agreement)


def run_download(
    opened: Manifest,
    output: Path,
    layout: str,
    workers: int,
    source: Sequence[str],
    lake: str,
    unsealed: bool,
    form: Format,
    quiet: bool,
    agreement: str = "",
) -> None:
    """Download an open manifest and print what was done; ManifestError names what is missing."""
    from warehouse.cli.progress import show_progress
    from warehouse.manifests import download as downloading

    with show_progress(quiet=quiet) as report:
        found = downloading.download(
            opened,
            output,
            layout=layout,
            workers=workers,
            source=source,
            lake_address=lake,
            agreement=agreement,
            what=options.name_command(),
            unsealed=unsealed,
            progress=report,
            warn=print_note,
        )
    _show_download(found, output, form)
    downloading.raise_for_failed(opened, output, found)


def _show_download(found: Downloaded, output: Path, form: Format) -> None:
    """Print what a download did, and how its objects were verified."""
    from warehouse.manifests.checksums import How

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
            f"{output}: {found.fetched:,} objects fetched ({format_size(found.bytes)}), {found.kept:,} already present"
        )
        checked = ", ".join(f"{count:,} by {how}" for how, count in found.checks.most_common())
        if checked:
            print_line(f"checked: {checked}")
    if by_size := found.checks[How.SIZE]:
        print_note(f"{by_size:,} objects have no checksum that can be verified: only their sizes were compared.")
