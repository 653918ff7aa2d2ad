"""Commits to a lake: one transaction, its snapshot with a message, retried while others hold the catalogue."""

from __future__ import annotations

import contextlib
import getpass
import json
import random
import time
from collections.abc import Callable
from typing import TypeVar

import duckdb

from warehouse.engine.messages import explain_shortage, first_line
from warehouse.engine.placeholders import escape_placeholders, refuse_placeholders
from warehouse.errors import LakeError
from warehouse.lake import locks
from warehouse.lake.snapshots import ALIAS
from warehouse.masking import mask_secrets, mask_within
from warehouse.version import __version__

T = TypeVar("T")
_LOCKED = "database is locked"
#: DuckDB's beginning of an error of the catalogue at a commit, such as a write that the system refused.
_NOT_COMMITTED = "Failed to commit"
_BUSY = (_LOCKED, "Transaction conflict", "could not serialize access", "deadlock detected")
TRIES = 8


def transact(
    con: duckdb.DuckDBPyConnection, message: str, work: Callable[[], T], *, tries: int = TRIES, **info: object
) -> T:
    """Do `work` in one transaction whose snapshot carries the message and info; retried while the catalogue is busy.

    `work` may run several times, so it must do nothing outside the lake. Returns what it returns. LakeError when the
    writer's lock was lost meanwhile, UsageError when the message or info cannot be stored; then nothing is committed.
    """
    message = mask_secrets(message)
    for attempt in range(tries):
        try:
            con.execute("begin")
            result = work()  # which may add to the info
            described = json.dumps({"tool": __version__, **mask_within(info)})
            refuse_placeholders("What the commit would keep of itself", message, described)
            con.execute(
                f"call {ALIAS}.set_commit_message($author, $message, extra_info => $info)",
                {
                    "author": get_author(),
                    "message": message,
                    "info": described,
                },
            )
            locks.require_lock(con)
            con.execute("commit")
        except BaseException as error:
            # After any failed statement the connection may be in an aborted transaction.
            with contextlib.suppress(duckdb.Error):
                con.execute("rollback")
            if not isinstance(error, duckdb.Error):
                raise
            if attempt == tries - 1 or not any(word in str(error) for word in _BUSY):
                raise _to_lake_error(error) from error
            wait_briefly(attempt)
        else:
            return result
    raise AssertionError("unreachable")


def wait_briefly(attempt: int) -> None:
    """Wait with exponential backoff and jitter."""
    time.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2**attempt, 2.0))  # noqa: S311 - jitter


def _to_lake_error(error: duckdb.Error) -> Exception:
    """Convert an external problem to a LakeError; return any other error unchanged."""
    if shortage := explain_shortage(error):
        return LakeError(f"The lake could not be written. {shortage} What was committed before is safe; run it again.")
    if _LOCKED in str(error):
        return LakeError(
            "The lake could not be written: its catalogue is being read. An answer that was read only in part "
            "(fetchone, fetchmany) holds it until it is read to its end or its lake is closed. What was committed "
            "before is safe; run it again."
        )
    if isinstance(error, duckdb.IOException) or any(w in str(error) for w in (*_BUSY, _NOT_COMMITTED)):
        return LakeError(
            f"The lake could not be written: {first_line(error)}. What was committed before is safe; run it again."
        )
    return error


def get_author() -> str:
    """The author of a commit: the name of the operating system's user."""
    try:
        return escape_placeholders(getpass.getuser())
    except (KeyError, OSError):
        return "unknown"
