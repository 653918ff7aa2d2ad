"""Options that the commands of access share: the application, the form in YAML, who does it, the output."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warehouse.cli import interruption
from warehouse.cli.output import print_line, print_note, write_json
from warehouse.cli.terminal import get_plain_stream
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb

    from warehouse.access.forms import Form
    from warehouse.access.log import Event, NewEvent
    from warehouse.lake.location import Location
    from warehouse.settings import Settings


class Shown(StrEnum):
    """Output formats of the commands of access."""

    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


Id = Annotated[
    str, typer.Argument(metavar="ID", help="ID of the application, as 2026-0001; its agreement has the same.")
]
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="The form in YAML (chest access form); - reads stdin. Options count before it."
    ),
]
Out = Annotated[Shown, typer.Option("--format", help="Output format.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who does it; the user of the computer by default.")]


def explain_log(command: Callable[..., None]) -> Callable[..., None]:
    """A command that shows what the log has: events of somebody else's, which have anything, end it with one line."""

    @functools.wraps(command)
    def run(*given: Any, **named: Any) -> None:
        from warehouse.access.odd_events import explain_odd_events

        with explain_odd_events():
            command(*given, **named)

    return run


def find_place(lake: str) -> tuple[Location, Settings]:
    """The lake's location, and the settings."""
    from warehouse.lake.location import parse_address
    from warehouse.settings import load_settings

    settings = load_settings()
    return parse_address(lake or settings.lake), settings


def fill_form(form: Form, file: Path | None, **given: Any) -> dict[str, Any]:
    """The values of a form: those in a file, and over them those given by options. UsageError as in Form.parse."""
    from warehouse.access.yaml_files import read_yaml

    filled = read_yaml(file) if file else {}
    return form.parse({**filled, **{name: value for name, value in given.items() if value}})


def name_user(name: str) -> str:
    """Who does it: as given, or the user of the computer."""
    from warehouse.lake.store import get_author

    return name or get_author()


def take_step(
    lake: str, form: Shown, decide: Callable[[Sequence[Event], Settings], Sequence[NewEvent]], note: str = ""
) -> None:
    """Append the events of a step, and print what became of the application."""
    from warehouse.access import log
    from warehouse.access.applications import find_application
    from warehouse.access.naming import refuse_names

    interruption.mark_writing()
    place, settings = find_place(lake)
    events: list[Event] = []

    new: list[NewEvent] = []

    def take(there: list[Event]) -> Sequence[NewEvent]:
        events[:] = there
        new[:] = decide(there, settings)
        return new

    def refuse(con: duckdb.DuckDBPyConnection) -> None:
        refuse_names(con, place, [text for one in new for text in (one.actor, log.render_canonical(one.body))])

    made = log.append_decided(place, settings, take, also=refuse)
    events += made
    application = find_application(events, made[-1].about)
    if form is not Shown.TABLE:
        from warehouse.cli.access_show import describe_application

        write_value(describe_application(application, events, settings), form)
    else:
        stage = f": {application.stage}" if application.stage else ""
        print_line(f"{application.id} is {application.state}{stage}.")
    print_note(f"Logged as event {made[-1].number}: {made[-1].hash}{note}")


def write_value(value: object, form: Shown) -> None:
    """Write a value as YAML or JSON."""
    import sys

    if form is Shown.JSON:
        write_json(value)
    else:
        from warehouse.access.yaml_files import render_yaml
        from warehouse.engine.json_values import to_json_value

        get_plain_stream(sys.stdout).write(render_yaml(to_json_value(value)))


def write_text(text: str, target: Path | None) -> None:
    """Write a text to a file, completely or not at all, or to stdout."""
    import sys

    from warehouse.filesystem import files

    if target is None:
        sys.stdout.write(text)
        return
    try:
        with files.write_text_atomically(target) as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None
