"""The rows of an answer as dictionaries, for the few that are shown or summed up one by one."""

from typing import Any

import duckdb


def fetch_dicts(answer: duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    """All rows of an answer by the names of its columns; read to its end, so that it keeps no catalogue locked."""
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
