"""The user's own tables that a cohort read: how manifest.json describes them, and their copies beside it.

A table is recognised by the digest of its content (warehouse/cohorts/tables), which a CSV file, a Parquet file and a
frame with the same rows share. A copy is a Parquet file with the types that the cohort saw.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.tables import Given, Table, read_tables
from warehouse.cohorts.tables.reading import read_table
from warehouse.engine import confined, sql_files
from warehouse.engine.names import fold_name
from warehouse.errors import ManifestError, UsageError

if TYPE_CHECKING:
    from warehouse.cohorts import Definition
    from warehouse.settings import Settings


def describe_tables(tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """Describe tables as manifest.json does."""
    return [
        {
            "name": table.name,
            "digest": table.digest,
            "file_sha256": table.file_sha256 or None,
            "rows": table.n_rows,
            "columns": table.columns,
        }
        for table in tables.values()
    ]


def name_copy(table: str) -> str:
    """The name of a table's copy in the folder of a manifest."""
    return f"table_{table}.parquet"


def write_copies(tables: Mapping[str, Table], folder: Path, settings: Settings) -> list[str]:
    """Write a copy of each table into a folder, on a connection that can write nowhere else; returns their names."""
    sql = sql_files.read_statements("tables/reading.sql")
    for table in tables.values():
        path = folder.resolve() / name_copy(table.name)
        with contextlib.closing(confined.connect(settings, folder)) as con:
            table.attach(con)
            con.execute(
                sql_files.fill(sql["copy"], table=sql_files.identifier(table.name), file=sql_files.literal(str(path)))
            )
    return [name_copy(name) for name in tables]


def list_copies(about: Mapping[str, Any]) -> dict[str, str]:
    """The names of the copies that a manifest has, by table."""
    names = {table["name"]: name_copy(table["name"]) for table in about.get("tables", ())}
    return {table: name for table, name in names.items() if name in about["files"]}


def check_copies(folder: Path, about: Mapping[str, Any], settings: Settings) -> None:
    """ManifestError unless each copy has the rows and the digest that manifest.json states."""
    for entry in about.get("tables", ()):
        if entry["name"] in list_copies(about):
            _read_copy(folder, about, entry, settings)


def _read_copy(folder: Path, about: Mapping[str, Any], entry: Mapping[str, Any], settings: Settings) -> Table:
    path = folder / name_copy(entry["name"])
    try:
        found = read_table(entry["name"], path, entry["columns"], settings)
    except UsageError as error:
        raise ManifestError(f"{folder}: its copy {path.name} cannot be read. {error}") from None
    is_file = found.file_sha256 == about["files"][path.name]["sha256"]
    if not is_file or (found.digest, found.n_rows) != (entry["digest"], entry["rows"]):
        raise ManifestError(
            f"{folder} was altered: {path.name} does not have the content that manifest.json states. "
            "Get the manifest again from its sender."
        )
    return found


def read_again(
    folder: Path, about: Mapping[str, Any], definition: Definition, given: Given, settings: Settings
) -> dict[str, Table]:
    """Read the tables of a manifest again, to reproduce it: those given, else the copies in the folder.

    UsageError if a table has neither, or if one that was given is not the one that the manifest was made with.
    """
    spelt = {fold_name(name): name for name in definition.tables_read}  # manifest.json may spell them otherwise
    entries = {spelt.get(fold_name(entry["name"]), entry["name"]): entry for entry in about.get("tables", ())}
    kinds = {name: entry["columns"] for name, entry in entries.items()}
    found = read_tables(given, kinds, settings, definition.tables_read)
    for name, entry in entries.items():
        if name in found:
            if found[name].digest != entry["digest"]:
                raise UsageError(
                    f"Table {name} differs from the one that {folder} was made with: its digest is "
                    f"{found[name].digest}, that one's {entry['digest']}. Give the same table:  --table {name}=FILE"
                )
        elif entry["name"] in list_copies(about):
            if fold_name(name) not in spelt:
                raise ManifestError(f"{folder} is not valid: its cohort does not read the table {name}.")
            found[name] = replace(_read_copy(folder, about, entry, settings), name=name)
        else:
            raise UsageError(
                f"{folder} was made with the table {name} ({entry['rows']:,} rows, {entry['digest']}), of which it has "
                f"no copy. Give the same table:  --table {name}=FILE"
            )
    return found
