"""The `chest` command: turns errors and signals into one line and an exit code.

Exit codes: 0 fine, 1 the answer is "no", 2 wrong use or a problem outside; 130 interrupted (Ctrl-C), 143 ended by
SIGTERM, 129 by SIGHUP. Few imports here, so that the signal handlers are installed before the slow ones.
"""

from __future__ import annotations

import os
import sys
import traceback

from warehouse.cli import interruption
from warehouse.engine import hidden_pandas


def main() -> None:
    """Run the command line; expected errors become one message on stderr."""
    from warehouse.cli import terminal
    from warehouse.engine import limits

    interruption.install_handlers()
    # Processes that this one starts by `python -c` or `-m` (those of multiprocessing) import nothing from the working
    # directory: it may be a bucket, or a manifest of somebody else.
    os.environ["PYTHONSAFEPATH"] = "1"
    limits.claim_process()
    hidden_pandas.hide_pandas()
    with terminal.escape_output():
        try:
            code = _run()
        except BaseException:
            if not interruption.has_arrived():
                raise
            code = 0
        if interruption.has_arrived():  # whatever exception it became on the way
            code = interruption.conclude()
    interruption.end_at_once_from_now_on()
    sys.exit(code)


def _run() -> int:
    """Run the command and return its exit code."""
    from typer.exceptions import TyperException

    from warehouse.cli import terminal
    from warehouse.errors import WarehouseError
    from warehouse.filesystem import permissions

    try:
        os.umask(permissions.find_umask())  # for what DuckDB and SQLite write
        from warehouse.cli.commands import build_command

        code = build_command(sys.argv[1] if len(sys.argv) > 1 else "")(standalone_mode=False)
        sys.stdout.flush()
    except WarehouseError as error:
        if not interruption.has_arrived():
            # Lines after the first are indented, so that quoted text cannot pose as a message of its own.
            sys.stderr.write(f"chest: {error}".replace("\n", "\n  ") + "\n")
        return error.exit_code
    except TyperException as error:  # wrong use: an unknown option, an invalid number
        error.show()  # type: ignore[attr-defined]
        return error.exit_code
    except (BrokenPipeError, SystemExit) as error:
        # The reader of the pipe has closed it (chest … | head): not an error. Typer raises SystemExit for it.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        terminal.leave_quietly()
        return 0
    except Exception as error:
        if interruption.has_arrived():  # the exception that a library turned it into
            return 0
        if line := _explain_fault(error):
            sys.stderr.write(f"chest: {line}\n")
            return 2
        # A bug. Printed here, while stderr still masks secrets; the interpreter would print it unmasked.
        sys.stderr.write(traceback.format_exc())
        return 1
    return code if isinstance(code, int) else 0


def _explain_fault(error: Exception) -> str:
    """One line on an error with an external cause (a damaged file, a full disk, too little memory, what is nested too
    deeply), else ""."""
    duckdb = sys.modules.get("duckdb")  # already imported, if DuckDB raised it
    if not isinstance(error, MemoryError | RecursionError) and (duckdb is None or not isinstance(error, duckdb.Error)):
        return ""
    from warehouse.engine.faults import explain_fault

    return explain_fault(error)
