"""Commands under the names that they had before: hidden, and for one minor version more."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from warehouse.cli.output import print_note


def add_former_name(app: typer.Typer, former: str, command: Callable[..., None]) -> None:
    """Add a command to the app under the name that it had before; a note on stderr gives the present one."""

    @functools.wraps(command)
    def renamed(*args: Any, **kwargs: Any) -> None:
        print_note(f"{former} is called {command.__name__} now. The former name goes with the next minor version.")
        command(*args, **kwargs)

    app.command(former, hidden=True)(renamed)
