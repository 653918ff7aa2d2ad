"""chest airlock: files that wait for two reviewers before they leave under an agreement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import interruption, options
from warehouse.cli.access_options import explain_log
from warehouse.cli.cohort_options import Param, Tables, prepare
from warehouse.cli.output import Format, format_count, format_size, print_line, print_note, write_json
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from warehouse.access.airlock.requests import AirlockRequest
    from warehouse.lake.location import Location
    from warehouse.settings import Settings

_app = typer.Typer(
    help="Hold files until two reviewers have released them: requests, findings, reviews, release.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="ID of the request, as A2026-0001.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who does it; the user of the computer by default.")]


def add_to(app: typer.Typer) -> None:
    """Add the group to the app."""
    app.add_typer(_app, name="airlock")


@_app.command()
def request(
    files: Annotated[list[Path], typer.Argument(help="The files to release.")],
    agreement: Annotated[str, typer.Option("--agreement", metavar="ID", help="Release them under this agreement.")],
    reason: Annotated[str, typer.Option("--reason", help="What they are, and why they are to leave.")],
    cohort: Annotated[
        str, typer.Option("--cohort", metavar="NAME", help="The files count the patients of this cohort.")
    ] = "",
    param: Param = None,
    table: Tables = None,
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    snapshot: options.Snapshot = None,
    group: options.Group = options.DEFAULT_GROUP,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Ask two reviewers to release files. They are copied to where only reviewers read, and inspected.

    The checks look for pseudonyms and UIDs, rows of patients, text that identifies, small counts, and kinds of files
    that hide their content. With --cohort the patients counted are compared with what left before.

    \b
    Example:
    $ chest airlock request table1.csv --agreement 2026-0001 --cohort covid_risk --reason "Table 1 of the paper"
    """
    from warehouse.access.airlock import steps
    from warehouse.withdrawal.recognising import make_recogniser

    if not reason.strip():
        raise UsageError("A request needs its reasons: --reason.")
    interruption.mark_writing()
    patients = _list_patients(cohort, param, table, lake, as_of, snapshot, group, agreement) if cohort else None
    place, settings = _find_place(lake)
    is_withdrawn = make_recogniser(place, settings)
    made = steps.request(place, settings, agreement, files, reason, _name_user(by), patients, is_withdrawn)
    _show(made, form)
    print_note(f"Two reviewers decide:  chest airlock review {made.id}")


@_app.command("list")
@explain_log
def list_(lake: options.Lake = options.DEFAULT_LAKE, form: options.TableOrJson = Format.TABLE) -> None:
    """List the requests, newest first.

    \b
    Example:
    $ chest airlock list
    """
    from warehouse.access import log
    from warehouse.access.airlock.requests import list_requests

    found = [*list_requests(log.read_events(*_find_place(lake))).values()][::-1]
    if form is Format.JSON:
        write_json([_to_json(one) for one in found])
        return
    for one in found:
        n_problems = sum(finding.grade == "problem" for finding in one.findings)
        print_line(
            f"{one.id}  {one.state:<8}  {one.agreement}  {one.at:%Y-%m-%d}  {one.requester}  "
            f"{format_count(len(one.files), 'file')}, {format_count(n_problems, 'problem')}"
        )
    if not found:
        print_note("There are no requests.")


@_app.command()
@explain_log
def show(name: Id, lake: options.Lake = options.DEFAULT_LAKE, form: options.TableOrJson = Format.TABLE) -> None:
    """Show a request: files, findings, reviews.

    \b
    Example:
    $ chest airlock show A2026-0001
    """
    from warehouse.access import log
    from warehouse.access.airlock.holding import find_folder
    from warehouse.access.airlock.requests import find_request

    place, settings = _find_place(lake)
    found = find_request(log.read_events(place, settings), name)
    _show(found, form)
    print_note(f"The files are in {find_folder(place, settings) / name}")


@_app.command()
def review(
    name: Id,
    decision: Annotated[str, typer.Option("--decision", help="approve or reject.")],
    comment: Annotated[str, typer.Option("--comment", help="Reasons.")],
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Review a request, as one of two who have not made it. A rejection is final.

    \b
    Example:
    $ chest airlock review A2026-0001 --decision approve --comment "Counts of 50 and more only" --by "Ann Lee"
    """
    from warehouse.access.airlock import steps
    from warehouse.withdrawal.recognising import make_recogniser

    if decision not in ("approve", "reject"):
        raise UsageError(f"--decision is approve or reject, not {decision!r}.")
    interruption.mark_writing()
    approves = decision == "approve"
    place, settings = _find_place(lake)
    is_withdrawn = make_recogniser(place, settings)
    found = steps.review(
        place, settings, name, _name_user(by), approves=approves, comment=comment, is_withdrawn=is_withdrawn
    )
    if form is Format.JSON:
        write_json(_to_json(found))
        return
    print_line(f"{name} is {found.state}{' for one more reviewer' if found.state == 'waiting' else ''}.")
    if found.state == "approved":
        print_note(f"Release it:  chest airlock release {name} -o FOLDER")


@_app.command()
def release(
    name: Id,
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder for the files.")],
    by: By = "",
    lake: options.Lake = options.DEFAULT_LAKE,
    form: options.TableOrJson = Format.TABLE,
) -> None:
    """Release the files of an approved request into a new folder, and log it.

    \b
    Example:
    $ chest airlock release A2026-0001 -o released
    """
    from warehouse.access.airlock import steps
    from warehouse.withdrawal.recognising import make_recogniser

    interruption.mark_writing()
    place, settings = _find_place(lake)
    found = steps.release(place, settings, name, output, _name_user(by), make_recogniser(place, settings))
    if form is Format.JSON:
        write_json(_to_json(found))
    else:
        print_line(f"{name} is released: {format_count(len(found.files), 'file')} in {output}")


def _list_patients(
    cohort: str,
    param: list[str] | None,
    table: list[str] | None,
    lake: str,
    as_of: str | None,
    snapshot: int | None,
    group: str,
    agreement: str,
) -> Collection[str]:
    from warehouse.cohorts.counted import list_patients

    with options.open_session(lake, as_of, snapshot, group, trusted=False, agreement=agreement) as warehouse:
        found = list_patients(prepare(warehouse, cohort, param, table))
    if "" not in found:
        raise UsageError(f"The rows of cohort {cohort} identify no patient, study, series or image.")
    return found[""]


def _find_place(lake: str) -> tuple[Location, Settings]:
    from warehouse.lake.location import parse_address
    from warehouse.settings import load_settings

    return parse_address(lake), load_settings()


def _name_user(name: str) -> str:
    from warehouse.lake.store import get_author

    return name.strip() or get_author()


def _show(found: AirlockRequest, form: Format) -> None:
    if form is Format.JSON:
        write_json(_to_json(found))
        return
    print_line(f"{found.id} is {found.state}: agreement {found.agreement}, by {found.requester}, {found.at:%Y-%m-%d}")
    print_line(f"  {found.reason}")
    for file in found.files:
        print_line(f"  {file.name}  {format_size(file.bytes)}  sha256:{file.sha256}")
    for finding in sorted(found.findings, key=lambda one: ("problem", "look", "fine").index(one.grade)):
        where = f"{finding.file}: " if finding.file else ""
        grade = finding.grade if finding.grade == "fine" else finding.grade.upper()
        print_line(f"  {grade:<8}{finding.check}: {where}{finding.detail}")
    for review in found.reviews:
        print_line(f"  {'approved' if review.approves else 'rejected'} by {review.reviewer}: {review.comment}")


def _to_json(found: AirlockRequest) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(found), "state": found.state}
