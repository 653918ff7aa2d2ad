"""Finds the patients that the newest state of a lake names, by key or by content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.engine import sql_files

if TYPE_CHECKING:
    import duckdb

_SQL = "withdrawal/matching.sql"


def list_names(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Every text of the newest state of an attached lake that may be a pseudonym."""
    return [name for (name,) in con.execute(sql_files.read_statements(_SQL)["names"]).fetchall()]
