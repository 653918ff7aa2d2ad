"""chest download: fetch the images of a patient, a study, a series or a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.manifest_download import LayoutOption, Output, Workers, run_download
from warehouse.cli.manifest_options import Bucket, open_checked
from warehouse.cli.output import Format, print_note
from warehouse.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(download)


def download(
    name: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="A patient, StudyInstanceUID, SeriesInstanceUID, or the folder of a manifest."
        ),
    ],
    output: Output,
    layout: LayoutOption = "",
    kind: Annotated[str, typer.Option("--kind", help="patient, study or series, where WHAT names several.")] = "",
    objects: Annotated[
        str, typer.Option("--objects", help="Any of dcm, json (headers) and clinical, separated by commas.")
    ] = "dcm,json",
    workers: Workers = 32,
    source: Bucket = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Download the images of a patient, a study, a series or a manifest, and verify each; run again, it resumes.

    Unless a manifest is given, one is made, recorded in the lake and kept in DATA/.chest/manifest; its rows also have
    StudyDate, SeriesNumber and InstanceNumber, for --layout. Exit code 1 if there is nothing of that name, or if an
    object could not be downloaded.

    \b
    Examples:
    $ chest download Covid12 -o ./covid12 --layout '{StudyDate}/{SeriesNumber}/{InstanceNumber:04}_{SOPInstanceUID}.dcm'
    $ chest download ./covid-2020-06 -o ./data
    """
    from warehouse.manifests import resolving
    from warehouse.manifests.download_folder import choose_layout

    interruption.mark_writing()
    choose_layout(output, layout)  # before anything is recorded
    if resolving.is_manifest(name) and not kind:
        if Path(name).name == name:  # a stranger's folder may have the name of a patient
            raise UsageError(
                f"{name} is the folder of a manifest here. Write ./{name} for the manifest, or --kind patient (study, "
                "series) for what the lake has of that name."
            )
        run_download(
            open_checked(Path(name)), output, layout, workers, source or (), lake, False, form, quiet, agreement
        )
        return
    kinds = options.split_words(objects)
    with options.open_session(
        lake, as_of, snapshot, group, trusted=False, agreement=agreement, leaves=True
    ) as warehouse:
        found = resolving.find_kind(warehouse, name, kind)
        made = resolving.make_manifest(warehouse, name, found, output, objects=kinds, warn=print_note)
    run_download(made, output, layout, workers, source or (), lake, False, form, quiet, agreement)
