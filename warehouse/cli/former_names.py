"""Hidden aliases for renamed commands, kept for one more minor version."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from warehouse.cli.output import print_note


def add_former_name(app: typer.Typer, former: str, command: Callable[..., None]) -> None:
    """Add a hidden alias for a renamed command; it prints a note with the new name on stderr."""

    @functools.wraps(command)
    def renamed(*args: Any, **kwargs: Any) -> None:
        print_note(f"{former} was renamed {command.__name__}. The old name will be removed in the next minor version.")
        command(*args, **kwargs)

    app.command(former, hidden=True)(renamed)
