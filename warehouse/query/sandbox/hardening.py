"""The third layer of the sandbox: a connection limited to what reading the lake needs."""

from __future__ import annotations

import duckdb

from warehouse.engine import sql_files
from warehouse.lake.location import Location
from warehouse.settings import Settings

#: The deepest nesting of brackets, calls, CASEs and steps. DuckDB's binding time grows steeply with depth (300 nested
#: sums take a second, 300 nested arrows minutes), and it cannot be interrupted meanwhile.
MOST_DEPTH = 250


def harden_connection(con: duckdb.DuckDBPyConnection, location: Location, settings: Settings, *folders: str) -> None:
    """Restrict a connection with an attached lake, and all its cursors, to what reading the lake needs.

    `folders` are others that it reads, such as that of the delete files that hide withdrawn patients.

    This cannot be undone. The catalogue file and the lake's data files stay accessible, because DuckDB's own scans need
    them; the first two layers keep queries away from them.
    """
    readable = ", ".join(map(sql_files.literal, (location.data_path, *folders)))
    for setting in (
        "explain_output = 'all'",  # the only way to see the bound plan
        f"max_expression_depth = {MOST_DEPTH}",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "python_enable_replacements = false",
        f"max_temp_directory_size = '{settings.sql_spill_mb}MB'",
        f"allowed_directories = [{readable}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        con.execute(f"set global {setting}")
