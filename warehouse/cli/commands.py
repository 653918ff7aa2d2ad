"""The `chest` command put together from its families. Importing this takes longest of all that a command does."""

import typer

from warehouse.cli import backup, check, cohort, manifest, query, refresh, report, sample, status, upkeep

app = typer.Typer(
    name="chest",
    help="The chest data warehouse: crawl a bucket of chest images and clinical records, and ask it as of any day.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
refresh.add_to(app)
status.add_to(app)
query.add_to(app)
check.add_to(app)
report.add_to(app)
cohort.add_to(app)
manifest.add_to(app)
backup.add_to(app)
upkeep.add_to(app)
sample.add_to(app)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Say the version and stop.")) -> None:
    if version:
        from warehouse import __version__

        typer.echo(f"chest {__version__}")
        raise typer.Exit
