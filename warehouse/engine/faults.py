"""Explains DuckDB errors with an external cause (catalogue down, damaged file, too little memory) in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb

from warehouse.engine.messages import EXAMINE, clean_message, explain_damage, explain_shortage
from warehouse.errors import LakeError

#: A bug in our own SQL.
_OF_THE_PROGRAM = (duckdb.InternalException, duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
#: Messages of a PostgreSQL catalogue that does not respond, whatever the class of the error.
_CUT_OFF = (
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "could not connect",
    "no connection to the server",
)

#: How many characters of an error are searched; it may quote a long query.
_MOST_SEARCHED = 4_000


@contextlib.contextmanager
def explain_faults() -> Iterator[None]:
    """As a `with` block or a decorator, raise errors with an external cause as a LakeError of one line.

    A bug in the program keeps its own exception and traceback.
    """
    try:
        yield
    except (duckdb.Error, MemoryError, RecursionError) as error:
        if line := explain_fault(error):
            raise LakeError(line) from error
        raise


def require_lake(error: Exception) -> None:
    """Raise LakeError if a query failed because the catalogue does not respond or a file of the lake is missing or
    damaged: the query itself may be correct."""
    if explain_damage(error) or any(words in str(error)[:_MOST_SEARCHED] for words in _CUT_OFF):
        raise LakeError(explain_fault(error)) from error


def explain_fault(error: Exception) -> str:
    """A duckdb.Error, MemoryError or RecursionError in one line; "" for a bug in the program."""
    if isinstance(error, RecursionError):
        return f"Something that was read is nested too deeply: nothing that chest writes is. {EXAMINE}"
    if shortage := explain_shortage(error):
        return shortage
    if damage := explain_damage(error):
        return damage
    line = " ".join(clean_message(error).split())
    if any(words in line[:_MOST_SEARCHED] for words in _CUT_OFF):
        return f"The lake's catalogue does not respond: {line.rstrip('.')}. Try again when its server is back."
    if isinstance(error, _OF_THE_PROGRAM):
        return ""
    if "Permission denied" in line:
        return f"The lake cannot be read or written: {line.rstrip('.')}. Ask its owner for access."
    if is_of_a_file(error):
        return f"The lake cannot be read or written: {line.rstrip('.')}. {EXAMINE}"
    return line


def is_of_a_file(error: Exception) -> bool:
    """Whether a file that is missing or damaged may be the cause: Parquet's own errors have no class of theirs."""
    kinds = (duckdb.IOException, duckdb.InvalidInputException, duckdb.FatalException)
    return isinstance(error, kinds) or type(error) is duckdb.Error
