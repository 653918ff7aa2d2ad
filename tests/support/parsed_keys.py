"""Keys as a refresh parses them in SQL: the rows of `parsed` for a listing of them."""

from collections.abc import Sequence
from datetime import datetime

import duckdb
import pyarrow as pa

from warehouse.ingest.key_parsing import parse_keys
from warehouse.object_store.layouts import Layout


def parse_in_duckdb(
    con: duckdb.DuckDBPyConnection, keys: Sequence[str], source: str, layout: Layout, written: datetime
) -> duckdb.DuckDBPyRelation:
    """The rows of `parsed` for objects of these keys, all new and last written at one time."""
    con.register("listed", pa.table({"key": pa.array(keys, pa.string())}))
    con.execute(
        "create or replace temp table changes as "
        "select key, 1 as size, 'e' as etag, $at as last_modified, 'added' as change, "
        "cast(null as varchar) as old_kind, cast(null as varchar) as patient_id from listed",
        {"at": written},
    )
    parse_keys(con, source, layout)
    return con.table("parsed")
