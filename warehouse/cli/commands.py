"""The `chest` command, assembled from its command groups: all, or the one that is asked for, which is quicker."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import typer
from typer.core import TyperGroup

from warehouse.cli.output import print_line

_HELP = "The chest data warehouse: load a bucket of chest images and clinical records, and query it as of any day."
#: The modules of warehouse/cli and their commands.
_MODULES = {
    "sample": ("sample",),
    "refresh": ("refresh",),
    "status": ("status", "describe", "rejects"),
    "query": ("sql", "patient"),
    "cohort": ("cohort",),
    "manifest": ("manifest",),
    "download": ("download",),
    "export": ("export",),
    "cite": ("cite",),
    "explore": ("explore",),
    "workbench": ("workbench",),
    "serve": ("serve", "token"),
    "mcp": ("mcp",),
    "check": ("check",),
    "report": ("report",),
    "access": ("access",),
    "audit": ("audit",),
    "source": ("source",),
    "withdraw": ("withdraw",),
    "maintain": ("maintain", "upkeep"),
    "airlock": ("airlock",),
    "doctor": ("doctor",),
    "backup": ("backup", "move"),
}
#: In the order in which a new user needs them: create, inspect, query, export, maintain.
_ORDER = (
    *("sample", "refresh", "status", "describe", "sql", "patient", "cohort", "manifest", "download", "export", "cite"),
    *("explore", "workbench", "serve", "token", "mcp"),
    *("check", "report", "rejects", "access", "audit", "airlock", "source", "withdraw"),
    *("maintain", "doctor", "backup", "move"),
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


def create_app(*modules: str) -> typer.Typer:
    """Create the app with the commands of these modules, or of all."""
    app = typer.Typer(
        name="chest",
        cls=_Ordered,
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in modules or _MODULES:
        importlib.import_module(f"warehouse.cli.{module}").add_to(app)
    app.callback(invoke_without_command=True)(_configure_root)
    return app


def _configure_root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from warehouse.version import __version__

        print_line(f"chest {__version__}")
        raise typer.Exit


@cache
def build_command(name: str = "") -> Any:
    """Build the command: with the subcommand of this name alone, if there is one, else with all, which takes 50 ms."""
    needed = [module for module, names in _MODULES.items() if name in names]
    return typer.main.get_command(create_app(*needed))
