"""A DuckDB connection without a lake, that reads and writes inside the folders that are named and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import machine_memory, spill, sql_files
from warehouse.engine.connections import open_connection
from warehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb


def connect(settings: Settings, *folders: Path, files: Sequence[Path] = ()) -> duckdb.DuckDBPyConnection:
    """Such a connection, within the limits of the settings; times are in UTC. Its own settings cannot be changed.

    `files` are further files that it may read. Paths below the folders are to be given as `Path.resolve()` gives them.
    """

    threads = {"threads": str(settings.threads)} if settings.threads else {}
    con = open_connection({"memory_limit": f"{machine_memory.confined_duckdb_mb(settings)}MB", **threads})
    allowed = ", ".join(sql_files.literal(f"{folder.resolve()}/") for folder in folders)
    paths = ", ".join(sql_files.literal(str(file)) for file in files)
    for setting in (
        "TimeZone = 'UTC'",
        f"temp_directory = {sql_files.literal(spill.find_spill_folder())}",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "python_enable_replacements = false",
        f"allowed_directories = [{allowed}]",
        f"allowed_paths = [{paths}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        con.execute(f"set {setting}")
    return con
