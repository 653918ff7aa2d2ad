"""The third layer: a connection that has nothing but what reading the lake needs."""

from __future__ import annotations

import duckdb

from warehouse.engine import sql_files
from warehouse.lake.location import Location
from warehouse.settings import Settings

#: Brackets, calls, CASEs, steps that stand in one another. DuckDB takes longer and longer to bind deeper ones (300
#: sums in one another take a second, 300 arrows minutes), and heeds no interruption while it does.
MOST_DEPTH = 250


def harden_connection(con: duckdb.DuckDBPyConnection, location: Location, settings: Settings) -> None:
    """Take from a connection with an attached lake, and from all its cursors, whatever reading the lake does not need.

    It cannot be undone. The catalogue file and the lake's data files stay within DuckDB's reach (its own scans use
    the same way), which is what the first two layers are for.
    """
    for setting in (
        "explain_output = 'all'",  # the plan as it was bound is shown in no other way
        f"max_expression_depth = {MOST_DEPTH}",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "python_enable_replacements = false",
        f"max_temp_directory_size = '{settings.sql_spill_mb}MB'",
        f"allowed_directories = [{sql_files.literal(location.data_path)}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        con.execute(f"set global {setting}")
