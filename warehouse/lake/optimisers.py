"""What DuckDB's optimiser may not do on a connection to a lake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from warehouse.engine.sql_files import literal

if TYPE_CHECKING:
    import duckdb

#: Looking in one table only for the values that the other side of a join has. DuckLake 1.5.5 writes such values, which
#: are from rows, into a statement of its own, and ends a text at a zero byte there, with the quotation mark still open:
#: of two columns the value of the second would be run as SQL, with all rights of whoever asks.
_NEVER = "join_filter_pushdown"


def disable(con: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Disable optimisers, besides those that are always disabled, and allow all others."""
    con.execute(f"set disabled_optimizers = {literal(','.join((_NEVER, *names)))}")


def ignore_statistics(con: duckdb.DuckDBPyConnection) -> None:
    """Disable optimisation by column statistics on this connection; for reading older snapshots.

    DuckLake 1.5.5 has one set of statistics, that of the newest snapshot, and rewriting files narrows it. Reading an
    older snapshot with it loses rows and digits (ducklake issue 1377, fixed after 1.5.5). Files are still pruned.
    """
    disable(con, "statistics_propagation")


def keep_joins_as_written(con: duckdb.DuckDBPyConnection) -> None:
    """Let the right side of each join be the one that is held in memory; what is disabled already stays so.

    DuckDB takes each condition for a fifth of the rows, so that a concept of millions of rows seems smaller than the
    patients that it is joined with.
    """
    ((disabled,),) = con.execute("select current_setting('disabled_optimizers')").fetchall()
    names = ",".join(name for name in (disabled, "build_side_probe_side") if name)
    con.execute(f"set disabled_optimizers = {literal(names)}")


@contextlib.contextmanager
def ignore_statistics_within(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The same within a `with` block, for a writer that reads an older snapshot."""
    ignore_statistics(con)
    try:
        yield
    finally:
        disable(con)


@contextlib.contextmanager
def plan_as_written(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The same, and joins in the order in which they are written, which must be a good one: outer joins of a large
    table with smaller ones.

    DuckLake 1.5.5 does not remember that a table which never had a row has no statistics: it asks the catalogue again
    for each column and operator, which takes longer than the query (fixed after 1.5.5). The first rows of an order are
    found by sorting all, which can spill to disk: of a large table DuckDB would keep hundreds of thousands in memory.
    """
    disable(con, "statistics_propagation", "join_order", "top_n")
    try:
        yield
    finally:
        disable(con)
