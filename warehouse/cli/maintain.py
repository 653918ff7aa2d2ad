"""chest maintain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import interruption, options
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
            help="Keep the snapshots of the last N days.  [default: CHEST_KEEP_DAYS, or 90]",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be done.")] = False,
    allow_orphans: Annotated[
        bool,
        typer.Option("--allow-orphans", help="Remove files that no snapshot names even if they are over 25 % of all."),
    ] = False,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Maintain the lake's files: merge small ones, rewrite those with many deleted rows, expire old snapshots.

    No answer changes. Kept are the newest published snapshot, those of the last days, and all that a registered
    manifest needs. Files that no snapshot uses any longer are removed two to three days later. Run it about weekly.

    \b
    Example:
    $ chest maintain --lake ./lake --keep-days 90 --dry-run
    """
    from dataclasses import asdict

    from warehouse.cli.progress import show_progress
    from warehouse.lake.maintenance import maintain as maintain_lake

    if not dry_run:
        interruption.mark_writing()
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
        ("expired", f"{len(result.expired):,} snapshots; {len(result.kept):,} published ones kept"),
        ("removed", f"{result.removed_files:,} old files, {result.removed_orphans:,} that no snapshot ever used"),
        ("stored", _format_space(result)),
    )
    for name, text in lines:
        print_line(f"{name:<11}{text}")
    if result.dry_run:
        print_note("Dry run: nothing was changed. Run it without --dry-run to apply.")
    elif result.expired or result.rewritten.files or result.merged.files:
        print_note("Files that are no longer used are removed by a run two to three days from now.")
    if result.waiting:
        print_note(f"{result.waiting:,} commits are unpublished:  chest status")


def _format_space(result: MaintenanceResult) -> str:
    before, after = (
        f"{format_count(space.files, 'file')}, {format_size(space.bytes)}" for space in (result.before, result.after)
    )
    return before if result.dry_run else f"{before} → {after}"
