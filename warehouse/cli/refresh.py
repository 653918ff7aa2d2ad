"""chest refresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.output import Format, format_count, print_line, print_note, write_json
from warehouse.engine import hidden_pandas

if TYPE_CHECKING:
    from warehouse.ingest import RefreshResult

Prefix = Annotated[list[str] | None, typer.Option(help="Only keys that start with this (training/Covid12/).")]
Patient = Annotated[list[str] | None, typer.Option(help="Only the objects of this patient.")]
Full = Annotated[bool, typer.Option("--full", help="Read every object again, even if it is unchanged.")]
Inventory = Annotated[
    str,
    typer.Option(
        envvar="CHEST_INVENTORY",
        help="Use this S3 Inventory as the listing: s3://BUCKET/PREFIX/SOURCE-BUCKET/CONFIGURATION; or this table of "
        "S3 Metadata: its ARN, ….metadata.json or …/*.parquet.",
        show_default=False,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        envvar="CHEST_ENGINE",
        help="Load many objects by a Spark cluster: sc://HOST:15002, spark://HOST:7077, yarn, local-cluster.",
        show_default=False,
    ),
]
Layout = Annotated[
    str,
    typer.Option(
        envvar="CHEST_LAYOUT",
        help="How keys are laid out: standard; standard+dcm, which reads the headers of .dcm files without .json; any; "
        "or a pattern, such as '{patient}/{date}/{image}.dcm'. The lake remembers it.",
        show_default=False,
    ),
]
Group = Annotated[
    str,
    typer.Option(
        envvar="CHEST_LAYOUT_GROUP",
        help="With --layout any or a pattern: the group of keys that name none, training or validation.",
        show_default=False,
    ),
]
AllowRemovals = Annotated[
    bool, typer.Option("--allow-removals", help="Accept that over 10 % of the objects are gone or unreadable.")
]
AddSource = Annotated[bool, typer.Option("--add-source", help="Add this bucket to a lake that already has another.")]
Reextract = Annotated[
    bool,
    typer.Option("--reextract", help="Extract the columns of all stored headers again, for a column that was added."),
]
Encrypted = Annotated[
    bool,
    typer.Option(
        "--encrypted",
        help="Encrypt the files of a new lake; its catalogue has the keys. An existing lake must be encrypted already.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(refresh)


def refresh(
    source: options.Source,
    lake: options.Lake = options.DEFAULT_LAKE,
    prefix: Prefix = None,
    patient: Patient = None,
    full: Full = False,
    layout: Layout = "",
    group: Group = "",
    inventory: Inventory = "",
    engine: Engine = "",
    allow_removals: AllowRemovals = False,
    add_source: AddSource = False,
    reextract: Reextract = False,
    encrypted: Encrypted = False,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Bring the lake up to date with a bucket, and publish it.

    Lists the bucket, loads added and changed objects, and drops removed ones. Without changes it does nothing.
    AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and the rest of the usual AWS chain are honoured.

    --prefix and --patient may be repeated and limit the refresh to what they name; the rest of the lake stays as it is.

    With --layout any, a bucket of DICOM files without .json headers is loaded: the headers are read from the files, by
    ranged requests up to the pixels (docs/any_bucket.md).

    With --inventory the newest complete S3 Inventory, or a live inventory table of S3 Metadata (docs/operations.md),
    replaces the listing of the whole bucket. It does not undo changes that the lake has loaded since. Parts of the
    bucket (--prefix, --patient) are always listed directly.

    With --engine a Spark cluster loads what does not fit into a single unit of 8,192 objects (docs/scale.md).

    \b
    Examples:
    $ chest refresh s3://chest-data-warehouse --lake ./lake
    $ chest refresh ./bucket --patient Covid12 --patient Covid20 --full
    $ chest refresh s3://public-collection --layout any
    """
    from dataclasses import asdict, replace

    from warehouse.cli.progress import show_progress
    from warehouse.ingest import refresh as run_refresh
    from warehouse.settings import load_settings

    interruption.mark_writing()
    if engine:
        hidden_pandas.show_pandas()
    settings = load_settings()
    with show_progress(quiet=quiet) as report:
        result = run_refresh(
            source,
            lake,
            prefix=prefix or (),
            patients=patient or (),
            full=full,
            allow_removals=allow_removals,
            add_source=add_source,
            reextract_headers=reextract,
            settings=replace(
                settings,
                layout=layout,
                layout_group=group,
                inventory=inventory,
                engine=engine,
                encrypted=int(encrypted or settings.encrypted),
            ),
            progress=report,
        )
    if form is Format.JSON:
        write_json(asdict(result))
    else:
        _print_result(result)


def _print_result(result: RefreshResult) -> None:
    """Print what a refresh did, in a few lines."""
    objects, published = result.objects, result.published
    print_line(
        f"{result.source}: {format_count(objects.listed, 'object')} listed; "
        f"{objects.added:,} added, {objects.changed:,} changed, {objects.removed:,} removed"
    )
    if objects.skipped:
        names = "entry is not an object" if objects.skipped == 1 else "entries are not objects"
        was = "was" if objects.skipped == 1 else "were"
        print_note(f"{objects.skipped:,} {names}, or cannot be named, and {was} skipped:  chest rejects")
    if objects.withheld:
        print_note(f"{format_count(objects.withheld, 'object')} of withdrawn patients left out:  chest withdraw list")
    if objects.note:
        print_note(objects.note[0].upper() + objects.note[1:] + ".")
    if not published.is_new:
        print_line(f"Nothing new: snapshot {published.snapshot} is up to date.")
        return
    counts = published.counts
    print_line(
        f"Loaded {format_count(counts['images'], 'image header')} and "
        f"{format_count(counts['clinical'], 'clinical file')}; {counts['rejected']:,} rejected. "
        f"Published as snapshot {published.snapshot}."
    )
    if objects.added and not (result.images.loaded or result.clinical.loaded or counts["rejected"]):
        print_note("No header was found. If the bucket has .dcm files without .json:  chest refresh … --layout any")
    if result.clinical.recleaned:
        print_line(f"Cleaned {format_count(result.clinical.recleaned, 'clinical file')} again: the rules have changed.")
    if counts["rejected"]:
        print_note("Why objects were rejected:  chest rejects")
