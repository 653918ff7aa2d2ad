"""Options of the commands that read a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli.output import print_note

if TYPE_CHECKING:
    from warehouse.manifests.manifest import Manifest

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the manifest.")]
Bucket = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="BUCKET",
        help="A source of the manifest that the lake does not have, or another bucket with the same keys "
        "(SOURCE=BUCKET if there are several sources). May be repeated.",
    ),
]
Seal = Annotated[str, typer.Option("--seal", help="The seal that the manifest must have, as its sender printed it.")]


def open_checked(folder: Path, seal: str = "") -> Manifest:
    """Open a manifest and check it completely; prints a note if it has no seal."""
    from warehouse.manifests.manifest import open_manifest

    return open_manifest(folder, seal=seal, warn=print_note)
