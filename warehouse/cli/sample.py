"""chest sample."""

from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli.output import print_line


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(sample)


def sample(
    out: Annotated[Path, typer.Argument(help="A new folder; it becomes the bucket.")],
    patients: Annotated[int, typer.Option(help="How many invented patients.")] = 40,
    layout: Annotated[str, typer.Option(help="Key layout: dated or published.")] = "dated",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    clean: Annotated[bool, typer.Option("--clean", help="Without slips in the records and faults of images.")] = False,
    stubs: Annotated[bool, typer.Option("--stubs", help="Four bytes for each .dcm, for tests of speed.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Make a bucket of invented patients, with its true answers in truth.json.

    Each .dcm is a small DICOM file with the attributes of its header; slices of some CT series are missing or
    doubled, and some files are compressed. Records and headers have the slips and faults of real ones, unless
    --clean. What each clinical file truly says is in truth_clinical.jsonl; age and sex of each patient are in
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
