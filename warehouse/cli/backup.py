"""chest backup, chest move: back up a lake, and move it to PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import interruption, options
from warehouse.cli.output import Format, format_count, format_size, print_line, write_json

if TYPE_CHECKING:
    from warehouse.lake.backup import Backup, Verified


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(backup)
    app.command()(move)


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder of the backup, on a different disk from the lake.")],
    lake: options.Lake = options.DEFAULT_LAKE,
    verify: Annotated[
        bool, typer.Option("--verify", help="Copy nothing: read the whole backup and report its faults.")
    ] = False,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Back up the lake to a folder; later runs copy only new files.

    A refresh may run at the same time. The backup is itself a lake: read it with --lake, and restore it by copying its
    catalog.sqlite and data/ to a new folder. With --verify, exit code 1 if it is incomplete or damaged.

    \b
    Examples:
    $ chest backup /mnt/backup/lake --lake ./lake
    $ chest backup /mnt/backup/lake --verify
    """
    from dataclasses import asdict

    from warehouse.cli.progress import show_progress
    from warehouse.lake import backup as backups

    if not verify:
        interruption.mark_writing()
    done: Backup | Verified
    with show_progress("files", quiet=quiet) as report:
        done = backups.verify(folder, progress=report) if verify else backups.backup(folder, lake, progress=report)
    faults = done.faults if isinstance(done, backups.Verified) else ()
    if form is Format.JSON:
        write_json(asdict(done))
    else:
        print_line(_summarize(done))
        for fault in faults:
            print_line(f"  {fault}")
    if faults:
        raise typer.Exit(1)


def move(
    target: Annotated[
        str, typer.Argument(help="postgres://…?data_path=…, with the path that the data files were copied to.")
    ],
    lake: options.Lake = options.DEFAULT_LAKE,
) -> None:
    """Move a lake from its folder to PostgreSQL, with all its snapshots.

    First copy the lake's data/ to the new data path; the command checks that all files are there. The old lake stays as
    it is: write to only one of the two.

    \b
    Example:
    $ chest move 'postgres://chest@db/chest?data_path=s3://chest-lake/data' --lake ./lake
    """
    from warehouse.lake import backup as backups

    interruption.mark_writing()
    done = backups.move(lake, target)
    snapshot = "nothing published yet" if done.snapshot is None else f"snapshot {done.snapshot}"
    print_line(f"{done.lake}: {snapshot}, {format_count(done.files, 'file')}, {format_size(done.bytes)}.")


def _summarize(done: Backup | Verified) -> str:
    from warehouse.lake.backup import Backup

    snapshot = "nothing published yet" if done.snapshot is None else f"snapshot {done.snapshot}"
    held = f"{done.folder}: {snapshot}, {format_count(done.files, 'file')}, {format_size(done.bytes)}; "
    if isinstance(done, Backup):
        return f"{held}{done.copied:,} copied ({format_size(done.copied_bytes)}), {done.removed:,} removed."
    return f"{held}{format_count(len(done.faults), 'fault')}." if done.faults else f"{held}all there and unchanged."
