"""chest maintain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import options
from warehouse.cli.former_names import add_former_name
from warehouse.cli.output import Format, format_count, format_size, print_line, print_note, write_json

if TYPE_CHECKING:
    from warehouse.lake.maintenance import MaintenanceResult


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(maintain)
    add_former_name(app, "upkeep", maintain)


def maintain(
    lake: options.Lake = options.DEFAULT_LAKE,
    keep_days: Annotated[
        int | None,
        typer.Option(
            "--keep-days",
            min=0,
            help="Keep the snapshots published in so many days.  [default: CHEST_KEEP_DAYS, or 90]",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    allow_orphans: Annotated[
        bool, typer.Option("--allow-orphans", help="Remove files that no snapshot names even when they are over 25 %.")
    ] = False,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Keep the lake's files in order: merge small ones, rewrite those with many deleted rows, let go of old snapshots.

    No answer changes. The newest published snapshot stays, those of the last days, and every one that a registered
    manifest needs. Files that no snapshot uses any more are removed two to three days later. Run it about once a week.

    \b
    Example:
    $ chest maintain --lake ./lake --keep-days 90 --dry-run
    """
    from dataclasses import asdict

    from warehouse.cli.progress import show_progress
    from warehouse.lake.maintenance import maintain as maintain_lake

    with show_progress("tables", quiet=quiet) as report:
        result = maintain_lake(lake, keep_days=keep_days, dry_run=dry_run, allow_orphans=allow_orphans, progress=report)
    if form is Format.JSON:
        write_json(asdict(result))
    else:
        _show(result)


def _show(result: MaintenanceResult) -> None:
    into = "" if result.dry_run else " into {:,}"
    lines = (
        ("rewritten", f"{result.rewritten.files:,} files with deleted rows{into.format(result.rewritten.into)}"),
        ("merged", f"{result.merged.files:,} small files{into.format(result.merged.into)}"),
        ("expired", f"{len(result.expired):,} snapshots; {len(result.kept):,} published ones stay"),
        ("removed", f"{result.removed_files:,} old files, {result.removed_orphans:,} that no snapshot ever used"),
        ("stored", _format_space(result)),
    )
    for name, text in lines:
        print_line(f"{name:<11}{text}")
    if result.dry_run:
        print_note("This would be done; nothing was. Run it without --dry-run.")
    elif result.expired or result.rewritten.files or result.merged.files:
        print_note("Files that are not used any more are removed by a later run, in two to three days.")
    if result.waiting:
        print_note(f"{result.waiting:,} commits wait to be published: see  chest status")


def _format_space(result: MaintenanceResult) -> str:
    before, after = (
        f"{format_count(space.files, 'file')}, {format_size(space.bytes)}" for space in (result.before, result.after)
    )
    return before if result.dry_run else f"{before} → {after}"
