"""Whether a text is one query that only reads."""

from __future__ import annotations

import duckdb

from warehouse.engine import query_text
from warehouse.engine.messages import clean_message
from warehouse.errors import UsageError


def check_query(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise UsageError unless the text is exactly one query that only reads."""
    query_text.check_query_text(query)
    try:
        statements = con.extract_statements(query)
    except duckdb.Error as error:
        raise UsageError(f"The query cannot be read. {clean_message(error)}") from None
    if len(statements) != 1:
        raise UsageError(f"Give one query, not {len(statements)}.")
    if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise UsageError(f"Only a SELECT can be asked here, not {statements[0].type.name}: the lake is read-only.")
