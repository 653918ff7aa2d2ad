"""chest workbench: ready notebooks over the lake, in marimo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from warehouse.cli import options
from warehouse.cli.output import print_line, print_note
from warehouse.errors import UsageError
from warehouse.settings import LAKE_VARIABLE
from warehouse.text import escape_controls


def add_to(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(workbench)


def workbench(
    folder: Annotated[Path, typer.Argument(help="Folder of your notebooks; made if it is missing.")] = Path(
        "workbench"
    ),
    lake: options.Lake = options.DEFAULT_LAKE,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of marimo; 0 for a free one.")] = 0,
    is_opened: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the browser, or only print the address.")
    ] = True,
    is_copied_only: Annotated[
        bool, typer.Option("--copy-only", help="Only copy the notebooks: for a workbench that runs marimo itself.")
    ] = False,
) -> None:
    """Copy ready notebooks into a folder of yours and open them in marimo, over your lake.

    A tour; all data prior to a day; all data of one patient; from a cohort to a manifest; images in a grid; quality.
    A file that is there is never overwritten. marimo listens on this machine alone and asks for the token that it
    prints; your notebooks run with your rights.

    \b
    Examples:
    $ chest workbench --lake ./lake
    $ chest workbench ~/notebooks --copy-only
    """
    from warehouse import workbench as notebooks
    from warehouse.lake.location import parse_address
    from warehouse.lake.store import require

    if not is_copied_only:
        require_marimo()
        notebooks.require_own_settings(Path.cwd(), Path.home())
        require(parse_address(lake))
    copied = notebooks.copy_notebooks(folder)
    for path in copied.written:
        print_line(f"{escape_controls(str(path))}: {notebooks.NOTEBOOKS[path.stem]}")
    if copied.kept:
        print_note(f"Left as they are: {', '.join(escape_controls(path.name) for path in copied.kept)}.")
    if is_copied_only:
        return
    command = [sys.executable, "-m", "warehouse.workbench.marimo_server", "edit", str(folder)]
    command += ["--host", "127.0.0.1", "--skip-update-check"]
    command += ["--port", str(port)] if port else []
    command += [] if is_opened else ["--headless"]
    address = lake if "://" in lake else str(Path(lake).absolute())
    print_note("Ctrl-C stops it.")
    done = subprocess.run(command, env={**os.environ, LAKE_VARIABLE: address}, check=False)  # noqa: S603, our own words
    raise typer.Exit(done.returncode)


def require_marimo() -> None:
    """UsageError unless marimo is installed."""
    import importlib.util

    if importlib.util.find_spec("marimo") is None:
        raise UsageError("chest workbench needs marimo: pip install 'chest-data-warehouse[explore]'")
