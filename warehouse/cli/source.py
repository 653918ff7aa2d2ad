"""chest source: list the sources of a lake, and remove one."""

from __future__ import annotations

from typing import Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.output import Format, format_size, print_line, print_note, write_json
from warehouse.cli.status import ROUNDED

_app = typer.Typer(help="List the sources (buckets) of a lake, or remove one.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(_app, name="source")


@_app.command("list")
def list_(
    lake: options.Lake = options.DEFAULT_LAKE,
    snapshot: options.Snapshot = None,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """List the sources of a lake, with the objects, size and patients of each; where the lake enforces agreements,
    rounded.

    \b
    Example:
    $ chest source list --lake ./lake
    """
    from warehouse.ingest.sources import list_sources

    with options.open_session(lake, None, snapshot, options.DEFAULT_GROUP) as warehouse:
        rows = list_sources(warehouse)
        if base := options.find_base(warehouse):
            from warehouse.disclosure_control import find_unit, round_count
            from warehouse.query.rounded_status import find_most

            unit = find_unit(find_most(warehouse), base)
            rounded = [(round_count(row["objects"], unit), round_count(row["patients"], base)) for row in rows]
            rows = [
                row | {"objects": n, "patients": m, "bytes": None} for row, (n, m) in zip(rows, rounded, strict=True)
            ]
            print_note(ROUNDED.format(base=base))
    if form is Format.JSON:
        write_json(rows)
        return
    for row in rows:
        print_line(
            f"{row['source']}  {row['objects']:,} objects, "
            + (f"{format_size(row['bytes'])}, " if row["bytes"] is not None else "")
            + f"{row['patients']:,} patients, newest object {row['newest_object']:%Y-%m-%d}"
        )


@_app.command()
def remove(
    source: Annotated[str, typer.Argument(help="The source, as chest source list shows it.")],
    lake: options.Lake = options.DEFAULT_LAKE,
    allow_removals: Annotated[
        bool, typer.Option("--allow-removals", help="Confirm the removal of all its objects.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove a source from the lake, and publish. The bucket itself is neither read nor changed.

    Older snapshots keep its objects until maintenance expires them.

    \b
    Example:
    $ chest source remove s3://chest-trial --lake ./lake --allow-removals
    """
    from warehouse.cli.progress import show_progress
    from warehouse.ingest.sources import remove_source

    interruption.mark_writing()
    with show_progress(quiet=quiet) as report:
        done = remove_source(source, lake, allow_removals=allow_removals, progress=report)
    print_line(f"{done.source}: {done.objects:,} objects removed. Published as snapshot {done.published.snapshot}.")
    print_note("Earlier snapshots keep its objects until maintenance expires them.")
