"""Opens DuckDB connections; every one of the library is opened here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


def open_connection(config: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
    """Open a connection to a database in memory, without DuckDB's progress bar, that loads no extension by itself.

    In a process without a script (`python -c`, a notebook, a worker) DuckDB prints the bar to stdout, in the middle of
    the answer, as soon as a query takes two seconds.
    """
    import duckdb

    con = duckdb.connect(config=dict(config or {}))
    con.execute("set enable_progress_bar = false")
    con.execute("set autoinstall_known_extensions = false")
    con.execute("set autoload_known_extensions = false")
    return con
