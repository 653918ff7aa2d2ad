"""chest withdraw: the standing list of patients who have withdrawn or opted out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from warehouse.cli import interruption, options
from warehouse.cli.output import Format, format_count, print_line, print_note, write_json
from warehouse.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from warehouse.lake.location import Location
    from warehouse.settings import Settings
    from warehouse.withdrawal.changing import Changed
    from warehouse.withdrawal.standing_list import Entry

#: The command that is meant where none is named: `chest withdraw Covid20`.
_DEFAULT = "add"
#: Unknown patients are named up to so many; an opt-out list has mostly patients whom no lake has.
_MOST_NAMED = 10


class _WithDefault(TyperGroup):
    """A group whose first word may be a patient or an option instead of a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_DEFAULT, *args]
        return list(super().parse_args(ctx, args))


_app = typer.Typer(
    cls=_WithDefault,
    help="Withdraw patients: from the next publish nothing shows them. Also: list, permit, return.",
    no_args_is_help=True,
)

Patients = Annotated[list[str] | None, typer.Argument(help="Pseudonyms of the patients.", show_default=False)]
File = Annotated[Path | None, typer.Option("--file", help="A list of pseudonyms, one a line.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why, without a patient's name; it is kept for good.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(_app, name="withdraw")


@_app.command(_DEFAULT)
def add(
    patients: Patients = None,
    file: File = None,
    reason: Reason = "",
    opt_out: Annotated[
        bool, typer.Option("--opt-out", help="The file is the new opt-out list, and replaces the earlier one.")
    ] = False,
    allow_returns: Annotated[
        bool, typer.Option("--allow-returns", help="Accept that many of the earlier opt-out list are no longer on it.")
    ] = False,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Remove the patients from every snapshot, for good; without patients, finish."),
    ] = False,
    backup: Annotated[
        list[Path] | None, typer.Option("--backup", help="A backup to bring up to date with a purge; repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the certificate of a purge: .json, and .txt beside it.")
    ] = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """Withdraw patients, or renew the list of those who have opted out. `chest withdraw PATIENT` is the same.

    Who opens the lake from now on does not see them, at any snapshot; the next refresh removes their rows from the
    newest and no longer loads their objects. The lake keeps the list by keyed digest only. Patients whom the lake does
    not have are kept on it too, since they may still arrive.

    --purge removes them from every snapshot, from the catalogue and from known backups, and proves it by a search; no
    other answer changes. Nobody else may write meanwhile. Exit code 1 if anything was found afterwards.

    \b
    Examples:
    $ chest withdraw Covid20 --reason "letter of 3 May"
    $ chest withdraw Covid20 --purge -o certificate.json
    $ chest withdraw --opt-out --file opt-outs.txt
    """
    from warehouse.lake.location import parse_address
    from warehouse.settings import load_settings
    from warehouse.withdrawal import changing

    given = read_patients(patients, file)
    if opt_out and (patients or not file):
        raise UsageError("--opt-out takes the whole list from a file: --opt-out --file LIST")
    if not purge and (backup or output):
        raise UsageError("--backup and --output belong to --purge.")
    if purge and opt_out:
        raise UsageError("--purge takes the patients to purge, not the opt-out list: --purge --file LIST")
    if not given and not purge:
        raise UsageError("Name the patients, or give --file with one pseudonym a line.")
    interruption.mark_writing()
    place, settings = parse_address(lake), load_settings()
    if purge:
        _purge(place, settings, given, reason, backup or [], output, form, quiet)
        return
    if opt_out:
        done = changing.replace_opt_outs(place, settings, given, reason, allow_returns=allow_returns)
    else:
        done = changing.withdraw(place, settings, given, reason)
    _show_change(done, form, "opted out" if opt_out else "withdrawn")


@_app.command()
def permit(
    patients: Patients = None,
    file: File = None,
    allowed_by: Annotated[str, typer.Option("--allowed-by", help="Who allowed it, by name.")] = "",
    reason: Reason = "",
    end: Annotated[bool, typer.Option("--end", help="End the permission.")] = False,
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Include patients who have opted out, by permission of a named person; without patients, all of them.

    Those who have withdrawn stay out. The permission is recorded: who allowed it, why, and who ended it.

    \b
    Example:
    $ chest withdraw permit --allowed-by "Dr A. Jones, Caldicott Guardian" --reason "COPI notice of 17 March 2020"
    """
    from warehouse.lake.location import parse_address
    from warehouse.settings import load_settings
    from warehouse.withdrawal import changing

    given = read_patients(patients, file)
    interruption.mark_writing()
    place, settings = parse_address(lake), load_settings()
    if end:
        done = changing.end_permission(place, settings, given, reason)
    else:
        done = changing.permit(place, settings, given, allowed_by, reason)
    _show_change(done, form, "included by permission")


@_app.command("return")
def return_(
    patients: Patients = None,
    file: File = None,
    reason: Reason = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Take patients off the list again; their data come back with the next refresh. Needs a reason.

    What was purged comes back from the bucket, into new snapshots only.

    \b
    Example:
    $ chest withdraw return Covid20 --reason "wrong patient in the letter"
    """
    from warehouse.lake.location import parse_address
    from warehouse.settings import load_settings
    from warehouse.withdrawal import changing

    given = read_patients(patients, file)
    if not given:
        raise UsageError("Name the patients, or give --file with one pseudonym a line.")
    interruption.mark_writing()
    done = changing.give_back(parse_address(lake), load_settings(), given, reason)
    _show_change(done, form, "withdrawn")


@_app.command("list")
def list_(
    patients: Patients = None,
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Show the list: by keyed digest, as the lake does not know more; or whether patients are on it.

    Exit code 1 if one of the patients named is not. Where the lake enforces agreements, the log has who asked about
    them.

    \b
    Examples:
    $ chest withdraw list
    $ chest withdraw list Covid20
    """
    from dataclasses import asdict

    from warehouse.access.enforcement import log_question
    from warehouse.cli.access_options import find_place
    from warehouse.withdrawal import reading

    wanted = read_patients(patients, None)
    if wanted:
        log_question(*find_place(lake), "chest withdraw list", wanted)
    found = reading.read_list(lake, wanted)
    if form is Format.JSON:
        write_json(
            {
                "withheld": found.withheld,
                "patients": [{**asdict(entry), "state": entry.state, "patient": name} for entry, name in found.entries],
                "not on the list": found.missing,
            }
        )
    else:
        for entry, name in found.entries:
            print_line(_format_entry(entry, name))
        counts = ", ".join(f"{n:,} {state}" for state, n in sorted(found.states.items()))
        if not wanted:
            print_line(f"{counts or 'Nobody is on the list'}. {found.withheld:,} of their objects are in the buckets.")
    if found.missing:
        raise NotFoundError(f"Not on the list: {', '.join(found.missing)}.")


def _purge(
    place: Location,
    settings: Settings,
    patients: list[str],
    reason: str,
    backups: list[Path],
    output: Path | None,
    form: Format,
    quiet: bool,
) -> None:
    """Purge, write the certificate and show it; exit code 1 if something was found afterwards."""
    from warehouse.cli.progress import show_progress
    from warehouse.filesystem import files
    from warehouse.withdrawal.purge import purge

    with show_progress("files", quiet=quiet) as report:
        done = purge(place, settings, patients, reason, backups=backups, progress=report)
    if output:
        for path, text in ((output, done.canonical + "\n"), (output.with_suffix(".txt"), done.render_text())):
            with files.write_text_atomically(path) as file:
                file.write(text)
    if form is Format.JSON:
        write_json(done.document)
    else:
        for line in done.render_text().splitlines():
            print_line(line)
    if not done.holds:
        raise typer.Exit(1)


def read_patients(given: list[str] | None, file: Path | None) -> list[str]:
    """The pseudonyms of the command line and of a file, each once; empty lines and those that begin with # are not."""
    found = list(given or ())
    if file:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeError) as error:
            raise UsageError(
                f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}."
            ) from None
        found += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [*dict.fromkeys(found)]


def _format_entry(entry: Entry, name: str) -> str:
    since = f"{entry.since:%Y-%m-%d}" if entry.since else ""
    why = f"  {entry.reason}" if entry.reason else ""
    allowed = f"  (allowed by {entry.allowed_by})" if entry.is_permitted else ""
    digest = entry.digest.removeprefix("hmac-sha256:")[:16]
    return f"{name or digest}  {since}  {entry.state}{allowed}  by {entry.changed_by}{why}"


def _show_change(done: Changed, form: Format, what: str) -> None:
    from dataclasses import asdict

    if form is Format.JSON:
        write_json(asdict(done))
        return
    print_line(
        f"Standing list {done.version}: {done.added:,} newly {what}, {done.ended:,} no longer, "
        f"{done.unchanged:,} unchanged."
    )
    if done.unknown:
        names = ", ".join(done.unknown[:_MOST_NAMED]) + (", …" if len(done.unknown) > _MOST_NAMED else "")
        print_note(f"{format_count(len(done.unknown), 'patient')} given whom the lake does not have now: {names}")
    if done.added or done.ended:
        print_note("Readers that open the lake from now on follow it. Publish it:  chest refresh BUCKET")
