"""Rejects stored objects that newer rules can no longer read, with the reason, in the refresh of any source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.ingest import reject_reasons
from warehouse.ingest.context import Run

if TYPE_CHECKING:
    import pyarrow as pa


def reject_rows(run: Run, rows: pa.Table, batch: pa.Table, *, flag: str, wanted: str, table: str) -> None:
    """Turn the rows without their flag into rejects, and remove their texts from `table`.

    `batch` has the texts that were read (source, key, content), `wanted` describes the expected content.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    unread = rows.filter(pc.invert(rows.column(flag))).select(["source", "key"]).to_pylist()
    if not unread:
        return
    places = {(row["source"], row["key"]) for row in unread}
    names = pc.is_in(batch.column("key"), pa.array([row["key"] for row in unread], pa.string()))
    texts = batch.filter(names).select(["source", "key", "content"]).to_pylist()
    found = [
        {
            "source": row["source"],
            "key": row["key"],
            "reason": reject_reasons.find_reason(row["content"].encode(), wanted),
        }
        for row in texts
        if (row["source"], row["key"]) in places
    ]
    sql = sql_files.read_statements("ingest/unreading.sql")
    run.con.register("unread", pa.Table.from_pylist(found))
    for name in ("known", "forget", "reject", "drop"):
        run.con.execute(sql_files.fill(sql[name], table=table))
    run.con.unregister("unread")
