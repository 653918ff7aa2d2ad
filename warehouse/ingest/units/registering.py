"""Makes the files of receipts part of the lake: rows, rejects and checksums, in one transaction.

A unit that was done twice, because its worker was taken for lost, counts once: the files of its second receipt never
become part of the lake, and maintenance removes them as it does those of a refresh that was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.ingest import header_sources
from warehouse.ingest.context import BucketRun
from warehouse.ingest.rejects import write_rejects
from warehouse.ingest.units.unit import Receipt, UnitTask
from warehouse.lake import file_records
from warehouse.lake.snapshots import ALIAS

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.ingest.object_kinds import ObjectKind

_SQL = "ingest/units.sql"


def register_receipts(
    run: BucketRun, kind: ObjectKind, tool: str, done: Sequence[tuple[UnitTask, Receipt]]
) -> tuple[int, int]:
    """Commit what became of units, each given once; returns the rows loaded and the objects rejected."""
    loaded = sum(receipt.loaded for _, receipt in done)
    rejected = sum(len(receipt.rejects) for _, receipt in done)
    if loaded or rejected:
        run.commit(kind.step, partial(_write, run, kind, tool, done), **{kind.step: loaded, "rejected": rejected})
    return loaded, rejected


def _write(run: BucketRun, kind: ObjectKind, tool: str, done: Sequence[tuple[UnitTask, Receipt]]) -> None:
    rejects = [reject for _, receipt in done for reject in receipt.rejects]
    write_rejects(run, rejects, [key for _, receipt in done for key in receipt.retried], tool)
    replaced = _list_replaced(done)
    if replaced.num_rows:
        run.con.register("rows_read", replaced.append_column(kind.flag, _repeat(replaced.num_rows)))
        for table in kind.rows:
            forget = sql_files.read_statements("ingest/loading.sql")["replace"]
            run.con.execute(sql_files.fill(forget, table=table, flag=kind.flag), {"source": run.source})
        run.con.unregister("rows_read")
    written = sorted((file for _, receipt in done for file in receipt.files), key=lambda file: file.table)
    for table, files in groupby(written, key=lambda file: file.table):
        schema, _, name = table.partition(".")
        statement = sql_files.fill(
            sql_files.read_statements(_SQL)["register"],
            lake=sql_files.literal(ALIAS),
            table=sql_files.literal(name),
            schema=sql_files.literal(schema),
        )
        run.con.execute(statement, {"paths": [run.place.data_path + file.path for file in files]})
    header_sources.write_patients(run, {key: one for _, receipt in done for key, one in receipt.patients.items()})
    file_records.add_records(run.con, {file.path: file.checksum for file in written})


def _list_replaced(done: Sequence[tuple[UnitTask, Receipt]]) -> pa.Table:
    """The keys of objects that had rows of earlier content, and have new ones."""
    import pyarrow as pa

    keys = [
        key
        for unit, receipt in done
        for key, was_loaded in zip(*(unit.objects.column(c).to_pylist() for c in ("key", "is_loaded")), strict=True)
        if was_loaded and key not in receipt.missed
    ]
    return pa.table({"key": pa.array(keys, pa.string())})


def _repeat(length: int) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(pa.scalar(True), length)
