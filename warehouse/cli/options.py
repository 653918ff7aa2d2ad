"""Options shared by several commands, and the session that a reading command opens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli.output import Format
from warehouse.errors import UsageError
from warehouse.settings import LAKE_VARIABLE, SOURCE_VARIABLE, SUPPRESS, SUPPRESS_VARIABLE, require_base

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
) -> Iterator[Session]:
    """Open the session that the options describe; prints a note if the as-of date is in the future.

    Without `trusted`, SQL runs in the sandbox, and the block is limited to the time and memory of untrusted SQL.
    """
    from datetime import UTC, datetime

    from warehouse.cli.output import print_note
    from warehouse.query.days import parse_day
    from warehouse.query.session import Session

    day = parse_day(as_of) if as_of else None
    with Session.open(lake, snapshot=snapshot, unpublished=unpublished, trusted=trusted) as warehouse:
        if group != DEFAULT_GROUP:
            warehouse = warehouse.group(group)  # noqa: PLW2901
        if day:
            warehouse = warehouse.as_of(day)  # noqa: PLW2901
            if day > datetime.now(UTC).date():
                print_note(f"{day} is in the future: showing everything available today.")
        with contextlib.nullcontext() if trusted else warehouse.limited():
            yield warehouse
