"""Lists the functions of DuckDB that SQL of somebody else may call: sql/sandbox/functions.csv."""

from __future__ import annotations

import csv
import io
from functools import cache

from warehouse.engine import sql_files


@cache
def list_functions() -> dict[str, bool]:
    """List the functions that untrusted SQL may call, and whether each is deterministic."""
    rows = csv.DictReader(io.StringIO(sql_files.read("sandbox/functions.csv")))
    return {row["name"]: row["repeatable"] == "yes" for row in rows}
