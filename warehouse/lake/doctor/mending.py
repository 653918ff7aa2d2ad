"""Makes a lake consistent again after files were dropped, so that the next refresh loads what was lost and no more."""

from __future__ import annotations

from pathlib import PurePath

import duckdb

from warehouse.engine import sql_files
from warehouse.lake import migrations, store
from warehouse.lake.doctor.dropping import SQL
from warehouse.version import __version__

#: Tables with one row of an object each, and those with the other rows of the same object.
_PAIRS = (
    ("raw.headers", "core.images"),
    ("core.images", "raw.headers"),
    ("raw.records", "core.clinical"),
    ("core.clinical", "raw.records"),
    ("core.clinical_issues", "core.clinical"),
)


def rewrite_migrations(con: duckdb.DuckDBPyConnection) -> None:
    """Fill ops.migrations again, before anything asks for the version: the lake has every table of this version, or
    its record of checksums would not have been read."""
    sql = sql_files.read_statements(SQL)
    there = {number for (number,) in con.execute("select number from ops.migrations").fetchall()}

    def work() -> None:
        for number, name in migrations.list_migrations():
            if number not in there:
                values = {"number": number, "name": PurePath(name).stem, "tool": __version__}
                con.execute(sql["migration"], values)

    store.transact(con, "doctor: migrations", work, upkeep="doctor")


def mend(con: duckdb.DuckDBPyConnection, tables: set[str]) -> None:
    """Mend the attached lake after files of these tables were dropped; one commit, which the next refresh publishes."""
    sql = sql_files.read_statements(SQL)

    def work() -> None:
        if "core.dicom_attributes" in tables:
            con.execute("delete from core.dicom_attributes")
            migrations.write_dicom_attributes(con)
        for table, other in _PAIRS:
            if other in tables or table in tables:
                con.execute(sql_files.fill(sql["unpaired"], table=table, other=other))
        if "core.clinical_issues" in tables:
            con.execute(sql["clean_again"])
        if "raw.objects" in tables:
            con.execute(sql["objects"])
        if tables & {"core.images", "raw.headers", "core.clinical", "raw.records"}:
            con.execute(sql["kept"])

    store.transact(con, f"doctor: mended {', '.join(sorted(tables))}", work, mended=sorted(tables))
