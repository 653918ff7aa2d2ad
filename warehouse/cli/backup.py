"""chest backup, chest move: a copy of the lake to fall back on, and the way to PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli import options
from warehouse.cli.output import Format, format_count, format_size, print_line, write_json

if TYPE_CHECKING:
    from warehouse.lake.backup import Backup, Verified


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(backup)
    app.command()(move)


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder of the backup, on another disk than the lake.")],
    lake: options.Lake = options.DEFAULT_LAKE,
    verify: Annotated[
        bool, typer.Option("--verify", help="Copy nothing: read the whole backup, and say what is wrong with it.")
    ] = False,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Back the lake up to a folder; run again, it copies only what is new.

    A refresh may run meanwhile. The backup is a lake itself: read it with --lake, and restore it by copying its
    catalog.sqlite and data/ to a new folder. With --verify, exit code 1 when it is not whole.

    \b
    Examples:
    $ chest backup /mnt/backup/lake --lake ./lake
    $ chest backup /mnt/backup/lake --verify
    """
    from dataclasses import asdict

    from warehouse.cli.progress import show_progress
    from warehouse.lake import backup as backups

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
    target: Annotated[str, typer.Argument(help="postgres://…?data_path=…, where the data files were copied to.")],
    lake: options.Lake = options.DEFAULT_LAKE,
) -> None:
    """Move a lake from its folder to PostgreSQL, with all its snapshots.

    Copy the lake's data/ to the new data path first; it is checked that all files are there. The old lake stays as it
    is: write to one of the two only.

    \b
    Example:
    $ chest move 'postgres://chest@db/chest?data_path=s3://chest-lake/data' --lake ./lake
    """
    from warehouse.lake import backup as backups

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
