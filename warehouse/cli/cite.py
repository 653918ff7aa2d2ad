"""chest cite: how to cite the data, the snapshot and the tool."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.output import print_line, print_note, write_json


class CitationFormat(StrEnum):
    """The format of a citation."""

    TEXT = "text"
    BIBTEX = "bibtex"
    JSON = "json"


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(cite)


def cite(
    folder: Annotated[
        Path | None, typer.Argument(metavar="MANIFEST", help="The folder of a manifest; by default, the lake.")
    ] = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: Annotated[CitationFormat, typer.Option("--format", help="text, bibtex or json")] = CitationFormat.TEXT,
) -> None:
    """Print how to cite the data, the snapshot and the tool: of the lake, or of a manifest.

    The owner of the data sets their citation in CHEST_CITATION.

    \b
    Examples:
    $ chest cite --as-of 2020-06-01
    $ chest cite ./covid-2020-06 --format bibtex
    """
    from warehouse.query.citation import cite_manifest, cite_session

    if folder is None:
        with options.open_session(lake, as_of, snapshot, group) as warehouse:
            found = cite_session(warehouse)
    else:
        from warehouse.manifests.manifest import open_manifest

        found = cite_manifest(open_manifest(folder, warn=print_note).about)
    if form is CitationFormat.JSON:
        write_json(found.fields)
    else:
        for line in (found.bibtex if form is CitationFormat.BIBTEX else found.text).splitlines():
            print_line(line)
    if not found.data:
        print_note("No citation of the data is set. The owner of the data sets one in CHEST_CITATION.")
