"""chest explore: the explorer's page over a lake, in the browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.output import print_note
from warehouse.filesystem import files
from warehouse.masking import mask_secrets
from warehouse.text import escape_controls


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(explore)


def explore(
    lake: options.Lake = options.DEFAULT_LAKE,
    as_of: options.AsOf = None,
    group: options.Group = options.DEFAULT_GROUP,
    agreement: options.Agreement = "",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for a free one.")] = 8043,
    suppress: options.Suppress = options.DEFAULT_SUPPRESS,
    is_opened: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser, or only print its address.")
    ] = True,
    is_warmed: options.Warm = True,
    log: Annotated[Path | None, typer.Option("--log", help="File for the log of requests; none by default.")] = None,
) -> None:
    """Open a page on the lake: choose patients by facets, see one patient's history, make a cohort and its manifest.

    It listens on this machine alone, until Ctrl-C; the address that it prints has a token, which is valid until then.
    Others are let in by  chest serve --token-file,  which has the same page at /explore.

    \b
    Examples:
    $ chest explore --lake ./lake
    $ chest explore --lake ./lake --as-of 2020-06-01 --no-open
    """
    import threading
    import webbrowser

    from warehouse.query.days import parse_day
    from warehouse.service import server
    from warehouse.service.scope import Scope
    from warehouse.settings import load_settings

    def announce(address: str) -> None:
        page = address.replace("/?token=", "/explore?token=")
        sys.stdout.write(f"Exploring {escape_controls(mask_secrets(lake))} at {page}\n")  # its token is to be seen
        sys.stdout.flush()
        print_note("Ctrl-C stops it.")
        if is_opened:
            # Beside the server, which must answer while a browser that runs in the terminal does not return.
            threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    base = Scope(as_of=parse_day(as_of) if as_of else None, group=group)
    with files.open_temporary_folder() as folder:  # on the terminal, the log of requests would cover the address
        given = server.Options(
            port=port,
            suppress=suppress,
            agreement=agreement,
            log=log or folder / "requests.log",
            is_warmed=is_warmed,
        )
        server.serve(lake, load_settings(), base, given, announce, print_note)
