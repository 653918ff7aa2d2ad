"""Options shared by several commands, and the session that a reading command opens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from warehouse.cli.output import Format
from warehouse.errors import AccessRefusedError, UncoveredWarning, UsageError
from warehouse.settings import (
    AGREEMENT_VARIABLE,
    LAKE_VARIABLE,
    SOURCE_VARIABLE,
    SUPPRESS,
    SUPPRESS_VARIABLE,
    require_base,
)

if TYPE_CHECKING:
    from warehouse.query.session import Session

Lake = Annotated[
    str,
    typer.Option(
        "--lake",
        envvar=LAKE_VARIABLE,
        help="Folder of the lake, or postgres://…?data_path=…",
        show_default=True,
    ),
]
Source = Annotated[str, typer.Argument(envvar=SOURCE_VARIABLE, help="s3://BUCKET[/PREFIX] or a folder.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="DAY", help="Only what was available on or before this day (2020-06-01)."),
]
Snapshot = Annotated[int | None, typer.Option("--snapshot", help="A published snapshot; the newest by default.")]
Group = Annotated[str, typer.Option("--group", help="Group of patients: training, validation or all.")]
#: The command that runs.
_command = ContextVar("command", default="chest")


def _note_command(context: typer.Context, agreement: str) -> str:
    """Note which command runs, for the log of access."""
    names, above = [], cast(Any, context)
    while above.parent:
        names.append(above.info_name)
        above = above.parent
    _command.set(" ".join(["chest", *reversed(names)]))
    return agreement.strip()


Agreement = Annotated[
    str,
    typer.Option(
        "--agreement",
        metavar="ID",
        envvar=AGREEMENT_VARIABLE,
        callback=_note_command,
        help="The agreement under which it leaves (chest access list): only what it covers is in the answer.",
        show_envvar=False,
    ),
]
Answer = Annotated[Format | None, typer.Option("--format", help="Output format.")]


def split_words(text: str) -> tuple[str, ...]:
    """Split an option with several words, which commas separate; each word once, in the order given."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def require_table_or_json(context: typer.Context, form: Format) -> Format:
    """Return the format; UsageError unless it is table or json."""
    if form not in (Format.TABLE, Format.JSON):
        raise UsageError(f"{context.command_path} writes table or json, not {form}.")
    return form


TableOrJson = Annotated[Format, typer.Option("--format", help="table or json", callback=require_table_or_json)]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Do not show progress.")]
Target = Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file; its extension sets the format.")]


def _require_base(base: int) -> int:
    """UsageError for a base that does not protect."""
    return require_base(base, f"--suppress (or {SUPPRESS_VARIABLE})")


Suppress = Annotated[
    int,
    typer.Option(
        "--suppress",
        metavar="N",
        envvar=SUPPRESS_VARIABLE,
        callback=_require_base,
        help="Round counts to multiples of N (5 or more), so that no count under N is disclosed; 0 shows exact counts.",
    ),
]

Warm = Annotated[
    bool,
    typer.Option("--warm/--no-warm", help="Read what is shown when it starts, or only when somebody asks."),
]

DEFAULT_LAKE = "./lake"
DEFAULT_GROUP = "training"
#: For commands whose output is meant to be shared; for commands that return rows of patients anyway.
DEFAULT_SUPPRESS, NO_SUPPRESS = SUPPRESS, 0


def note_rounding(suppress: int) -> None:
    """Print a note on stderr if counts are rounded."""
    from warehouse.cli.output import print_note

    if suppress:
        print_note(
            f"Counts are rounded to {suppress:,}: 0 means 0 to {suppress - 1:,} (--suppress 0 shows exact counts)."
        )


@contextlib.contextmanager
def open_session(
    lake: str,
    as_of: str | None,
    snapshot: int | None,
    group: str,
    *,
    unpublished: bool = False,
    trusted: bool = True,
    is_ours: bool = True,
    agreement: str = "",
    leaves: bool = False,
) -> Iterator[Session]:
    """Open the session that the options describe; prints a note if the as-of date is in the future.

    Without `trusted`, SQL runs in the sandbox, and the block is limited to the time and memory of untrusted SQL.

    `leaves`: the command shows rows, or exact counts: where a lake enforces agreements it needs one.
    Under an `agreement` the session shows what that covers; without `is_ours`, the SQL is then sandboxed in any case.
    """
    from datetime import UTC, datetime

    from warehouse.cli.output import print_note
    from warehouse.query.days import parse_day
    from warehouse.query.session import Session, attach_as

    day = parse_day(as_of) if as_of else None
    trusted = trusted and (is_ours or not agreement)
    with attach_as(Session, lake, snapshot=snapshot, unpublished=unpublished, trusted=trusted) as warehouse:
        warehouse = permit(warehouse, agreement, leaves=leaves)  # noqa: PLW2901
        with log_refusals(warehouse):
            if group != warehouse.group_name:
                warehouse = warehouse.group(group)  # noqa: PLW2901
            elif warehouse.cover:  # which need not cover this group
                warehouse.require_group(group)
            if day:
                warehouse = warehouse.as_of(day)  # noqa: PLW2901
                if day > datetime.now(UTC).date():
                    print_note(f"{day} is in the future: showing everything available today.")
            with contextlib.nullcontext() if trusted else warehouse.limited():
                yield warehouse


def permit(warehouse: Session, agreement: str, *, leaves: bool) -> Session:
    """The session under its agreement, if there is one; AccessRefusedError if it is needed, or not in force."""
    if not agreement and not leaves:
        return warehouse
    from warehouse.access.current import may_have_events

    if not agreement and not may_have_events(warehouse.con, warehouse.location):
        return warehouse  # nearly every lake; what follows takes its time to import
    from warehouse.access.coverage import Cover
    from warehouse.access.enforcement import find_permit

    place, settings = warehouse.location, warehouse.settings
    found = find_permit(warehouse.con, place, settings, agreement, leaves=leaves, what=name_command())
    if found is None:
        return warehouse
    return warehouse.under(Cover.of(found))


def find_base(warehouse: Session) -> int:
    """The base to which counts are rounded that a command shows without being asked to: where the lake enforces
    agreements and there is none, else 0."""
    from warehouse.access.current import may_have_events, read_current

    if warehouse.cover or not may_have_events(warehouse.con, warehouse.location):
        return 0
    from warehouse.access.switch import is_enforced

    return SUPPRESS if is_enforced(read_current(warehouse.con, warehouse.location)) else 0


def is_exact(suppress: int) -> bool:
    """Whether numbers that are rounded to this base are as good as exact ones to those who may see rounded ones alone:
    0 is exact, and so is one number by 5, by 6, by 7 …: together they leave one value."""
    return suppress != SUPPRESS


@contextlib.contextmanager
def log_refusals(warehouse: Session) -> Iterator[None]:
    """Log what is refused within a `with` block, under the agreement of a session; show its warnings as notes."""
    if not warehouse.cover:
        yield
        return
    import warnings

    from warehouse.access.enforcement import log_refusal
    from warehouse.cli.output import print_note

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UncoveredWarning)
        warnings.showwarning = lambda message, *_, **__: print_note(str(message))
        try:
            yield
        except AccessRefusedError as error:
            log_refusal(warehouse.location, warehouse.settings, warehouse.cover.agreement, name_command(), error)
            raise


def name_command() -> str:
    """The command that runs, as `chest manifest export`, if it takes an agreement."""
    return _command.get()


def log_release(warehouse: Session, patients: Iterable[str] | None = None, **facts: Any) -> None:
    """Log what a command is about to let leave, if the session is under an agreement."""
    warehouse.log_release(name_command(), patients, **facts)
