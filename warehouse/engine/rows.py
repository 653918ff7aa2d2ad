"""Fetches the rows of an answer to its end: one that is read in part keeps a transaction open, which blocks writers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


def fetch_dicts(answer: duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    """All rows of an answer by the names of its columns; read to its end, so that it keeps no catalogue locked."""
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def fetch_first(answer: duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation) -> tuple[Any, ...] | None:
    """The first row of an answer, None if it has none; `fetchone` would leave the answer open."""
    return next(iter(answer.fetchall()), None)
