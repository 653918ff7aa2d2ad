"""Small text files beside the Parquet files of a lake, in a folder or on S3."""

from __future__ import annotations

from pathlib import Path

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.filesystem import below, files

_SQL = "store/data_path.sql"


def read_text(con: duckdb.DuckDBPyConnection, where: str) -> str | None:
    """Read a file; None if there is none, OSError or duckdb.Error if it cannot be read.

    In a folder, only a regular file of some kB is read: it may be somebody else's lake.
    """
    if "://" not in where:
        return read_text_of_folder(Path(where))
    try:
        query = sql_files.fill(sql_files.read_statements(_SQL)["read_text"], path=sql_files.literal(where))
        row = fetch_first(con.execute(query))
    except duckdb.Error as error:
        if "404" in str(error) or "No files found" in str(error) or "NoSuchKey" in str(error):
            return None
        raise
    return str(row[0]) if row else ""


def read_text_of_folder(path: Path) -> str | None:
    """The same for a file in a folder, without a connection."""
    try:
        return below.read_small(path.parent, path.name).decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def write_text(con: duckdb.DuckDBPyConnection, where: str, text: str) -> None:
    """Write a file of one line, with the permissions of CHEST_SHARE; OSError or duckdb.Error if that fails."""
    if "://" in where:
        query = sql_files.read_statements(_SQL)["write_text"]
        con.execute(sql_files.fill(query, path=sql_files.literal(where), text=sql_files.literal(text)))
    else:
        write_text_of_folder(Path(where), text)


def write_text_of_folder(path: Path, text: str) -> None:
    """The same for a file in a folder, without a connection."""
    with files.write_text_atomically(path, may_stream=False) as file:
        file.write(text + "\n")
