"""chest mcp: the warehouse for one assistant, over stdin and stdout."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.terminal import get_plain_stream
from warehouse.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(mcp)


def mcp(
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    rights: Annotated[
        str, typer.Option("--rights", help="What the assistant may see: counts (rounded), or rows of patients too.")
    ] = "counts",
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    log: Annotated[Path | None, typer.Option("--log", help="File for the log of calls; stderr by default.")] = None,
) -> None:
    """Serve an assistant by the Model Context Protocol over stdin and stdout (docs/mcp.md).

    An assistant may pass on what it reads: it sees rounded counts unless --rights rows is given. With --as-of nothing
    that came later is shown.

    \b
    Example, as an assistant starts it:
    $ chest mcp --lake ./lake --rights counts
    """
    from warehouse.query.days import parse_day
    from warehouse.service import server
    from warehouse.service.scope import Scope
    from warehouse.service.tokens import Caller, Rights
    from warehouse.settings import load_settings

    if rights not in ("counts", "rows"):
        raise UsageError(f"--rights is counts or rows, not {rights!r}.")
    base = Scope(as_of=parse_day(as_of) if as_of else None, group=group)
    caller = Caller("assistant", Rights[rights], (group,), agreement=agreement)
    with contextlib.redirect_stdout(get_plain_stream(sys.stdout)):  # messages, not text for a terminal
        server.serve_stdio(lake, load_settings(), base, caller, log, suppress)
