"""A table of the user's own, read and typed: what it is, and its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: What may be given as a table: a file, or a frame (polars, pandas, Arrow, a DuckDB relation).
Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its columns, by name, and their types.

    `digest` covers names, types and rows in any order, so that a CSV file, a Parquet file and a frame with the same
    content have the same one; `file_sha256` is that of the file's bytes, "" for a frame.
    """

    name: str
    columns: dict[str, str]
    n_rows: int
    digest: str
    file_sha256: str
    is_declared: bool
    #: Columns of the file that the declaration leaves out.
    left_out: tuple[str, ...]
    rows: pa.Table = field(repr=False, compare=False)

    def __str__(self) -> str:
        """One line for people: rows, columns, and where the types come from."""
        shown = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        source = "as declared" if self.is_declared else "inferred from all rows" if self.file_sha256 else "as given"
        left = f"; not declared and left out: {', '.join(self.left_out)}" if self.left_out else ""
        rows = f"{self.n_rows:,} {'row' if self.n_rows == 1 else 'rows'}"
        return f"Table {self.name}: {rows}; {shown} ({source}){left}"

    def attach(self, con: duckdb.DuckDBPyConnection) -> None:
        """Create the table as a temporary one on a connection; nothing of its file is read again."""
        sql = sql_files.read_statements("tables/reading.sql")
        con.register("handed_over", self.rows)
        try:
            con.execute(sql_files.fill(sql["attach"], table=sql_files.identifier(self.name)))
        finally:
            con.unregister("handed_over")
