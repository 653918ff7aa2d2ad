"""chest doctor: examines and repairs the storage of a lake."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import interruption, options
from warehouse.cli.output import Format, format_count, format_size, print_line, print_note, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.lake.doctor import Finding, Repaired, Report

#: The width of what is printed, and of the column with the kind of a finding; the findings that are shown.
_WIDTH, _KIND, _SHOWN = 80, 11, 40


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(doctor)


def doctor(
    lake: options.Lake = options.DEFAULT_LAKE,
    repair: Annotated[bool, typer.Option("--repair", help="Do what is safe about the findings.")] = False,
    source: Annotated[
        str, typer.Option("--source", help="After the repair, refresh from this bucket, which loads what was dropped.")
    ] = "",
    from_backup: Annotated[
        Path | None,
        typer.Option("--from-backup", help="Put back lost files, or a damaged catalogue, from this backup."),
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option("--accept-loss", help="Also drop damaged files whose rows neither the bucket nor a backup has."),
    ] = False,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Examine the lake's files, catalogue and surroundings; repair what is safe.

    Reads every file of the lake and compares it with the checksum that was recorded when it was written. Exit code 1 if
    anything is found; with --repair, if anything is left.

    \b
    Examples:
    $ chest doctor --lake ./lake
    $ chest doctor --lake ./lake --repair --source s3://chest-data-warehouse
    """
    from warehouse.cli.progress import show_progress
    from warehouse.lake import doctor as doctors
    from warehouse.withdrawal.repairing import repair_lake

    if not repair and (source or from_backup or accept_loss):
        raise UsageError("--source, --from-backup and --accept-loss go with --repair.")
    if repair:
        interruption.mark_writing()
    done: Repaired | None = None
    n_put_back = 0
    with show_progress("files", quiet=quiet) as report:
        if repair:
            done, n_put_back = repair_lake(
                lake, from_backup=from_backup or "", accept_loss=accept_loss, progress=report
            )
        found = done.after if done else doctors.examine(lake, progress=report)
    if n_put_back:
        print_note(
            f"On the standing list again: {format_count(n_put_back, 'patient')} who withdrew or opted out, named in "
            "files that the catalogue lacks. Returns and permissions that it lacks are not:  chest withdraw list"
        )
    if done and source and done.to_load:
        from warehouse.ingest import refresh

        with show_progress("objects", quiet=quiet) as report:
            refresh(source, lake, progress=report)
            found = doctors.examine(lake, progress=report)
    if form is Format.JSON:
        write_json(_to_json(found, done))
    else:
        _show(found, done, is_loaded=bool(source))
    if not found.is_healthy:
        raise typer.Exit(1)


def _to_json(report: Report, done: Repaired | None) -> dict[str, Any]:
    answer = asdict(report)
    answer["findings"] = [
        {"kind": str(one.kind), "where": one.where, "what": one.what, "do": one.do} for one in report.findings
    ]
    return answer | ({"done": list(done.done), "to_load": done.to_load} if done else {})


def _show(report: Report, done: Repaired | None, *, is_loaded: bool) -> None:
    if report.is_readable:
        snapshot = f"snapshot {report.snapshot}" if report.snapshot >= 0 else "nothing published yet"
        files = f"{format_count(report.files, 'file')} ({format_size(report.bytes)})"
        print_line(f"{'lake':<{_KIND}}{report.lake}: {snapshot}, {files}")
        print_line(
            f"{'checksums':<{_KIND}}{report.compared:,} compared and equal, {report.unrecorded:,} not recorded yet"
        )
    else:
        print_line(f"{'lake':<{_KIND}}{report.lake}: the catalogue cannot be read")
    for text in done.done if done else ():
        _print_wrapped("done", text)
    for finding in report.findings[:_SHOWN]:
        _show_finding(finding)
    if len(report.findings) > _SHOWN:
        print_line(f"{'':<{_KIND}}… and {len(report.findings) - _SHOWN:,} more:  --format json")
    if report.note:
        print_note(report.note)
    if report.is_healthy:
        print_line("Healthy." if not (done and done.done) else "Repaired: nothing is left.")
    else:
        print_line(f"{format_count(len(report.findings), 'finding')}.")
    if done and done.to_load and not is_loaded:
        print_note("Load what was dropped again:  chest refresh BUCKET")


def _show_finding(finding: Finding) -> None:
    """Print a finding: its place on a line of its own, however long, then what it is and what to do about it."""
    print_line(f"{finding.kind:<{_KIND}}{finding.where}")
    _print_wrapped("", finding.what)
    _print_wrapped("", f"→ {finding.do}")


def _print_wrapped(name: str, text: str) -> None:
    """Print a text in the second column; commands, set off by two spaces, are lines of their own."""
    lines: list[str] = []
    for piece in text.split("  "):
        is_command = piece.startswith("chest ")
        lines += (
            [f"  {piece}"]
            if is_command
            else textwrap.wrap(piece, _WIDTH - _KIND, break_long_words=False, break_on_hyphens=False)
        )
    for place, line in enumerate(lines):
        print_line(f"{name if not place else '':<{_KIND}}{line}")
