"""Finds the rows of withdrawn patients in the Parquet files of every snapshot, by the digests of the standing list.

A row is theirs if its key names them, or if it belongs to an object whose content does: a header or a record that was
filed under another patient.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.withdrawal.stored import DataFile, render_scan

if TYPE_CHECKING:
    import duckdb

    from warehouse.withdrawal.digests import Key

_SQL = "withdrawal/rows.sql"
#: The tables whose contents name a patient, and the column that does.
CONTENT = {"core.images": "PatientID", "core.clinical": "pseudonym"}
#: The tables that have a row for each object that was listed, or was not.
_LISTS = ("raw.objects", "ops.rejects")


@dataclass(frozen=True, slots=True)
class Found:
    """Patients that a lake names, by digest; and their rows: positions by data file."""

    names: dict[str, str]
    objects: set[tuple[str, str]]
    rows: dict[int, list[int]] = field(default_factory=dict)


def list_patient_tables() -> list[str]:
    """The tables whose rows belong to a patient."""
    return [
        table.name
        for table in columns.list_tables()
        if {"patient_id", "key", "source"} <= {column.name for column in table.columns}
    ]


def find_names(con: duckdb.DuckDBPyConnection, files: list[DataFile], key: Key, digests: set[str]) -> dict[str, str]:
    """The pseudonyms of the patients with these digests that any snapshot names: pseudonym to digest."""
    texts: set[str] = set()
    for table in _LISTS:
        if chosen := [file for file in files if file.table_name == table]:
            query = sql_files.fill(_read("names by_key"), scan=render_scan(chosen))
            texts.update(name for (name,) in con.execute(query).fetchall())
    for table, column in CONTENT.items():
        if chosen := [file for file in files if file.table_name == table and file.has_content]:
            query = sql_files.fill(
                _read("names by_content"), scan=render_scan(chosen, by_name=True), column=sql_files.identifier(column)
            )
            texts.update(name for (name,) in con.execute(query).fetchall())
    return key.find_patients(texts, digests)


def find_rows(con: duckdb.DuckDBPyConnection, files: list[DataFile], names: dict[str, str]) -> Found:
    """The rows of these patients in the data files of tables of patients."""
    found = Found(names, set())
    if not names:
        return found
    _fill_texts(con, "withdrawn_names", {"name": sorted(names)})
    _find_objects(con, files, found)
    sources, keys = zip(*sorted(found.objects), strict=True) if found.objects else ((), ())
    _fill_texts(con, "withdrawn_objects", {"source": list(sources), "key": list(keys)})
    by_table: dict[str, list[DataFile]] = defaultdict(list)
    for file in files:
        by_table[file.table_name].append(file)
    for table in list_patient_tables():
        if chosen := by_table.get(table):
            ids = {file.path: file.file_id for file in chosen}
            query = sql_files.fill(_read("positions"), scan=render_scan(chosen))
            found.rows.update((ids[path], places) for path, places in con.execute(query).fetchall())
    return found


def _find_objects(con: duckdb.DuckDBPyConnection, files: list[DataFile], found: Found) -> None:
    for table, column in CONTENT.items():
        if chosen := [file for file in files if file.table_name == table and file.has_content]:
            query = sql_files.fill(
                _read("named"),
                scan=render_scan(chosen, by_name=True),
                column=sql_files.identifier(column),
                dcm_key="dcm_key" if table == "core.images" else "null",
            )
            for source, key, dcm_key in con.execute(query).fetchall():
                found.objects.update((source, one) for one in (key, dcm_key) if one)


def _fill_texts(con: duckdb.DuckDBPyConnection, table: str, values: dict[str, list[str]]) -> None:
    import pyarrow as pa

    given = pa.table({name: pa.array(texts, pa.string()) for name, texts in values.items()})
    con.register("texts_given", given)
    con.execute(f"create or replace temp table {sql_files.identifier(table)} as from texts_given")
    con.unregister("texts_given")


def _read(name: str) -> str:
    return sql_files.read_statements(_SQL)[name]
