"""The `chest` command: turns errors and signals into one line and an exit code.

Exit codes: 0 fine, 1 the answer is "no", 2 wrong use or a problem outside; 130 interrupted (Ctrl-C), 143 ended by
SIGTERM, 129 by SIGHUP. Little is imported here: a signal during the imports that follow is already taken care of.
"""

import os
import sys
from importlib.abc import MetaPathFinder

from warehouse.cli import interruption


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
    from warehouse import limits

    interruption.install()
    limits.own_process()
    sys.meta_path.insert(0, _WithoutPandas())
    try:
        code = _run()
    except BaseException:
        if not interruption.received():
            raise
        code = 0
    if interruption.received():  # whatever became of it on its way here
        code = interruption.conclude()
    interruption.end_at_once_from_now_on()
    sys.exit(code)


def _run() -> int:
    """Run the command; its exit code."""
    from warehouse import permissions
    from warehouse.errors import WarehouseError

    try:
        os.umask(permissions.umask())  # for what DuckDB and SQLite write
        from warehouse.cli.commands import app

        app()
    except WarehouseError as error:
        if not interruption.received():
            sys.stderr.write(f"chest: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        # The reader of a pipe has gone (chest … | head); nothing is wrong.
        sys.stderr.close()
        return 0
    return 0
