"""Options of the commands that run a cohort."""

from __future__ import annotations

from typing import Annotated

import typer

from warehouse.errors import UsageError

Name = Annotated[str, typer.Argument(metavar="NAME|FILE.sql", help="A shipped cohort (chest cohort list) or a file.")]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="A parameter; repeat it for a list, or give NAME=@FILE with one value per line.",
    ),
]


def parse_parameters(words: list[str] | None) -> dict[str, object]:
    """Parse `name=value` words: a repeated name makes a list, and `@FILE` reads a list, one value per line."""
    found: dict[str, object] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--param {word!r} is not name=value. Example: --param centre=Leeds")
        values = _read_lines(value[1:]) if value.startswith("@") else [value]
        before = found.get(name)
        if before is None and not value.startswith("@"):
            found[name] = value
        else:
            found[name] = [*(before if isinstance(before, list) else [] if before is None else [before]), *values]
    return found


def _read_lines(file: str) -> list[str]:
    from warehouse.engine.query_text import read_text

    return [line.strip() for line in read_text(file).split("\n") if line.strip()]
