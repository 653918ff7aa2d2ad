"""The `chest` command: puts the command families together, and turns errors into one line and an exit code.

Exit codes: 0 fine, 1 the answer is "no", 2 wrong use or a problem outside, 130 interrupted.
"""

import sys
from importlib.abc import MetaPathFinder

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


class _WithoutPandas(MetaPathFinder):
    """Lets the libraries find no pandas.

    Where it is installed, DuckDB and pyarrow import it as soon as a value is bound, to see whether the value is one of
    its own: a third of a second and 40 MB for what no command uses.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        if fullname == "pandas":
            raise ModuleNotFoundError("chest does without pandas", name=fullname)


def main() -> None:
    """Run the command line; errors a user can meet become one message on stderr."""
    from warehouse.errors import WarehouseError

    sys.meta_path.insert(0, _WithoutPandas())
    try:
        app()
    except WarehouseError as error:
        sys.stderr.write(f"chest: {error}\n")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, RuntimeError) as error:
        # DuckDB turns a Ctrl-C during a query into a RuntimeError.
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.stderr.write("chest: interrupted. What was committed is safe; run it again to go on.\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has gone (chest … | head); nothing is wrong.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        # Where nothing has imported DuckDB the error is none of its.
        duckdb = sys.modules.get("duckdb")
        if duckdb is None or not isinstance(error, duckdb.Error) or isinstance(error, duckdb.InternalException):
            raise
        from warehouse.reader import explain

        sys.stderr.write(f"chest: {' '.join(explain(error).split())}\n")
        sys.exit(2)
