"""The options that commands share, and how a reading command opens its warehouse."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warehouse.cli.output import Format
from warehouse.errors import UsageError
from warehouse.settings import LAKE_VARIABLE, SOURCE_VARIABLE, SUPPRESS, SUPPRESS_VARIABLE

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
Answer = Annotated[Format | None, typer.Option("--format", help="How to write the answer.")]


def require_table_or_json(context: typer.Context, form: Format) -> Format:
    """The format as it is given; UsageError for one that the command does not write."""
    if form not in (Format.TABLE, Format.JSON):
        raise UsageError(f"{context.command_path} writes table or json, not {form}.")
    return form


TableOrJson = Annotated[Format, typer.Option("--format", help="table or json", callback=require_table_or_json)]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
Target = Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file; its ending chooses the format.")]
Suppress = Annotated[
    int,
    typer.Option(
        "--suppress",
        metavar="N",
        min=0,
        envvar=SUPPRESS_VARIABLE,
        help="Round counts to N, so that none under N is disclosed; 0 shows them as they are.",
    ),
]

DEFAULT_LAKE = "./lake"
DEFAULT_GROUP = "training"
#: Of commands whose output is meant to be passed on; of those that give rows anyway.
DEFAULT_SUPPRESS, NO_SUPPRESS = SUPPRESS, 0


def note_rounding(suppress: int) -> None:
    """Say on stderr that counts are rounded, where they are."""
    from warehouse.cli.output import print_note

    if suppress > 1:
        print_note(f"Counts are rounded to {suppress:,}: 0 stands for 0 to {suppress - 1:,} (--suppress 0 shows all).")


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
    """The warehouse that the options name; says when a day lies ahead.

    Where its SQL is not trusted it is sandboxed, and the block is kept to the time and the memory of untrusted SQL.
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
                print_note(f"{day} lies ahead: this is all that is known by now.")
        with contextlib.nullcontext() if trusted else warehouse.limited():
            yield warehouse
