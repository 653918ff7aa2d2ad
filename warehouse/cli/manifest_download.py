"""chest manifest download: fetch the objects of a manifest into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import options
from warehouse.cli.manifest_options import Bucket, Folder, Seal, open_checked
from warehouse.cli.output import Format, format_size, print_line, print_note, write_json

if TYPE_CHECKING:
    from warehouse.manifests.download_job import Downloaded


def download(
    folder: Folder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the objects, each under its key.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of parallel downloads.")] = 32,
    source: Bucket = None,
    seal: Seal = "",
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Accept a manifest of format 1, which has no seal.")
    ] = False,
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Download a manifest's objects and verify each; run again, it resumes, and replaces corrupted files.

    A bucket that the lake does not have is read only if --source names it. Exit code 1 if an object could not be
    downloaded; the folder is then marked INCOMPLETE.

    \b
    Example:
    $ chest manifest download ./covid-2020-06 -o ./data
    """
    from warehouse.cli.progress import show_progress
    from warehouse.manifests import download as downloading

    opened = open_checked(folder, seal)
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
