"""chest sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.output import print_line


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(sample)


def sample(
    out: Annotated[Path, typer.Argument(help="A new folder for the bucket.")],
    patients: Annotated[int, typer.Option(help="Number of synthetic patients.")] = 40,
    layout: Annotated[str, typer.Option(help="Key layout: dated or published.")] = "dated",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    clean: Annotated[bool, typer.Option("--clean", help="Without errors in records and images.")] = False,
    stubs: Annotated[bool, typer.Option("--stubs", help="Four bytes for each .dcm, for tests of speed.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Create a bucket of synthetic patients, with the true answers in truth.json.

    Each .dcm is a small DICOM file with the attributes of its header; slices of some CT series are missing or
    doubled, and some files are compressed. Records and headers have errors like those of real data, unless --clean is
    given. The true values of each clinical file are in truth_clinical.jsonl, the age and sex of each patient in
    truth_patients.jsonl.

    \b
    Example:
    $ chest sample ./bucket --patients 40 --layout dated --seed 1
    """
    from warehouse.cli.progress import show_progress
    from warehouse.synthetic import make_bucket

    with show_progress("patients", quiet=quiet) as report:
        truth = make_bucket(
            out,
            patients,
            layout,
            seed,
            lambda done, total: report("sample", done, total),
            clean=clean,
            stubs=stubs,
        )
    print_line(
        f"{out}: {truth['objects']:,} objects of {truth['patients']:,} patients "
        f"({truth['image_json']:,} image headers, {truth['clinical_json']:,} clinical files)"
    )
