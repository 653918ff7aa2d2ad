"""Creates the macros that queries may call (sql/macros); they are temporary, so each connection needs its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from warehouse.catalog import spelling
from warehouse.engine import sql_files
from warehouse.lake.snapshots import ALIAS

if TYPE_CHECKING:
    import duckdb

#: From this many calls of tag() on, parsing a header once costs less than searching it for each (measured).
_MANY_TAGS = 4
_TAG_CALL = re.compile(r"\btag\s*\(", re.IGNORECASE)


def create_macros(con: duckdb.DuckDBPyConnection, names: tuple[str, ...] = ()) -> None:
    """Create the macros of these files, or of all files, on a connection."""
    for name in names or sql_files.list_files("macros"):
        con.execute(fill_macros(name))


def fill_macros(name: str) -> str:
    """Render the template of a file of macros."""
    attributes = sql_files.literal(sql_files.read("dicom/attributes.txt")) if name.endswith("tag.sql") else ""
    return sql_files.fill(sql_files.read(name), lake=ALIAS, attributes=attributes, **spelling.template_values())


def choose_tag_reading(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Choose how tag() reads headers in the next query; the answer is the same either way."""
    if (calls := len(_TAG_CALL.findall(query))) > 0:
        con.execute(f"set variable many_tags = {str(calls >= _MANY_TAGS).lower()}")
