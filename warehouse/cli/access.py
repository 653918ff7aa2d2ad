"""chest access: the command group; requests, reviews, decisions and agreements, and the log of them."""

from __future__ import annotations

import typer

from warehouse.cli import access_log, access_policy, access_show, access_steps
from warehouse.cli.access_options import explain_log

access = typer.Typer(
    name="access",
    help="Access to the data: requests, reviews, decisions and agreements, in a log that shows every alteration.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Add the group to the app."""
    steps = access_steps
    access.command()(explain_log(access_show.form))
    for command in (steps.request, steps.review, steps.decide, steps.grant, steps.renew, steps.revoke, steps.close):
        access.command()(command)
    access.command("list")(explain_log(access_show.list_))
    access.command()(explain_log(access_show.show))
    access.command()(access_log.verify)
    access.command()(access_log.register)
    access.command()(access_log.enforce)
    access.command()(access_policy.policy)
    app.add_typer(access)
