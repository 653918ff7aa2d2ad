"""Decides, in the standard layouts, which .dcm objects have their headers read from themselves: those whose .json is
missing or unreadable. A .json that is loaded later takes the place of what was read from its .dcm. Also writes which
patients the headers have named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.object_store.layouts import STANDARD, WITH_DCM

if TYPE_CHECKING:
    from warehouse.ingest.context import BucketRun

_SQL = "ingest/header_sources.sql"
#: Tables with rows of a header.
_TABLES = ("core.images", "raw.headers", "ops.rejects")


def choose_headers(run: BucketRun) -> None:
    """Commit which .dcm objects are headers from now on, if that has changed."""
    if run.layout.text == WITH_DCM and _find_changes(run):
        run.commit("header sources", lambda: _write(run))


def write_patients(run: BucketRun, patients: dict[str, str]) -> None:
    """Write the patients that headers have named to their objects, by key; within a transaction."""
    import pyarrow as pa

    if patients:
        found = {"key": pa.array(list(patients), pa.string()), "patient_id": pa.array(patients.values(), pa.string())}
        run.con.register("named_found", pa.table(found))
        run.con.execute(sql_files.read_statements(_SQL)["name_patients"], {"source": run.source})
        run.con.unregister("named_found")


def give_up_headers(run: BucketRun) -> None:
    """Make all .dcm objects of a standard layout images alone, if their headers were read; within a transaction."""
    if run.layout.text == STANDARD and _find_changes(run):
        _write(run)


def _find_changes(run: BucketRun) -> bool:
    sql = sql_files.read_statements(_SQL)
    values = {"source": run.source, "reads_dcm": run.layout.reads_dcm, **run.scope.parameters}
    run.con.execute(sql_files.fill(sql["changes"], within=run.within("key")), values)
    row = fetch_first(run.con.execute(sql["count"]))
    return bool(row and row[0])


def _write(run: BucketRun) -> None:
    sql = sql_files.read_statements(_SQL)
    source = {"source": run.source}
    for table in _TABLES:
        run.con.execute(sql_files.fill(sql["drop"], table=table), source)
    run.con.execute(sql["set_kinds"], source)
