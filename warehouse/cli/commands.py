"""The `chest` command, assembled from its command groups. Importing this is the slowest part of most commands."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from warehouse.cli import (
    backup,
    check,
    cite,
    cohort,
    download,
    export,
    maintain,
    manifest,
    mcp,
    query,
    refresh,
    report,
    sample,
    serve,
    source,
    status,
)
from warehouse.cli.output import print_line

#: In the order in which a new user needs them: create, inspect, query, export, maintain.
_ORDER = (
    *("sample", "refresh", "status", "describe", "sql", "patient", "cohort", "manifest", "download", "export", "cite"),
    *("serve", "token", "mcp"),
    *("check", "report", "rejects", "source", "maintain", "backup", "move"),
)


class _Ordered(TyperGroup):
    """Lists its commands in the order above, each with its first sentence in full."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        names = [*self.commands]
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        rows = [(name, self.commands[name].get_short_help_str(limit=1000)) for name in shown]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="chest",
    cls=_Ordered,
    help="The chest data warehouse: load a bucket of chest images and clinical records, and query it as of any day.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
refresh.add_to(app)
status.add_to(app)
query.add_to(app)
export.add_to(app)
check.add_to(app)
report.add_to(app)
cohort.add_to(app)
manifest.add_to(app)
cite.add_to(app)
download.add_to(app)
source.add_to(app)
backup.add_to(app)
maintain.add_to(app)
serve.add_to(app)
mcp.add_to(app)
sample.add_to(app)


@app.callback(invoke_without_command=True)
def _configure_root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from warehouse.version import __version__

        print_line(f"chest {__version__}")
        raise typer.Exit
