"""The tables of a manifest, copied to a private folder and checked before they are used.

Untrusted files are read on a connection that has no lake, can open only that folder, and has locked settings. What is
used is not their own Parquet, but what that connection has written of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.engine import confined, spill, sql_files
from warehouse.engine.messages import explain_shortage
from warehouse.errors import ManifestError, UsageError
from warehouse.manifests.checking import check_tables, open_table
from warehouse.manifests.document import escape_for_message
from warehouse.manifests.sealing import copy_file, hash_file
from warehouse.manifests.tables import check_copies
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb
    import polars as pl


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Contents:
    """The checked tables, as private files that are deleted with this object. `sources` are those of both."""

    rows_file: Path
    records_file: Path
    sources: tuple[str, ...]

    @property
    def rows(self) -> str:
        """The rows, as SQL for FROM."""
        return open_table(self.rows_file)

    @property
    def records(self) -> str:
        """The clinical files known of its patients, as SQL for FROM."""
        return open_table(self.records_file)


def connect(settings: Settings, *contents: Contents, folder: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection that can read only these manifests' tables, within the limits of the settings.

    It can also write below `folder`, if one is given.
    """
    tables = [path for each in contents for path in (each.rows_file, each.records_file)]
    return confined.connect(settings, *([folder] if folder else []), files=tables)


def read_rows(contents: Contents, settings: Settings | None = None) -> pl.DataFrame:
    """The rows as a polars frame; intervals, which earlier versions exported, as text: Polars panics at them."""
    import polars as pl

    sql = sql_files.read_statements("manifests/check.sql")
    rows = contents.rows
    texts: list[str] = []
    with contextlib.closing(connect(settings or load_settings(), contents)) as con:
        for name, kind in con.execute(sql_files.fill(sql["columns"], rows=rows)).fetchall():
            if kind.startswith("INTERVAL"):
                quoted = sql_files.identifier(name)
                texts.append(f"cast({quoted} as varchar) as {quoted}")
        if texts:
            return con.sql(sql_files.fill(sql["as_text"], texts=", ".join(texts), rows=rows)).pl()
    return pl.read_parquet(contents.rows_file, glob=False, hive_partitioning=False)


def load_contents(folder: Path, about: dict[str, Any], settings: Settings | None = None) -> Contents:
    """Copy the tables of a manifest's folder and check the whole folder; ManifestError describes the fault.

    `about` is manifest.json, already checked. UsageError if there is no room for the copies.
    """
    settings = settings or load_settings()
    files = about["files"]
    place = Path(spill.find_spill_folder()).resolve()
    rows, records = place / "manifest.parquet", place / "records.parquet"
    try:
        place.mkdir(mode=0o700, parents=True)
        _check_room(place, sum(files[path.name]["bytes"] for path in (rows, records)))
        for path in (rows, records):
            copy_file(folder / path.name, path, files[path.name])
        for name in sorted(files.keys() - {"manifest.csv", rows.name, records.name}):
            hash_file(folder / name, files[name])
        sources = _check_contents(folder, about, rows, records, settings)
        check_copies(folder, about, settings)
    except OSError as error:
        _remove(place, os.getpid())
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}.") from None
    except BaseException:
        _remove(place, os.getpid())
        raise
    found = Contents(rows, records, sources)
    weakref.finalize(found, _remove, place, os.getpid())
    return found


def _check_room(place: Path, needed: int) -> None:
    if needed > (free := shutil.disk_usage(place).free):
        raise UsageError(
            f"{place.parent} has room for {free / 1e9:,.1f} GB, and the tables of the manifest need "
            f"{needed / 1e9:,.1f} GB. Free some space, or set TMPDIR to another folder."
        )


def _remove(place: Path, process: int) -> None:
    if os.getpid() == process:  # not in a child that inherited the object
        shutil.rmtree(place, ignore_errors=True)


def _check_contents(
    folder: Path, about: dict[str, Any], rows: Path, records: Path, settings: Settings
) -> tuple[str, ...]:
    import duckdb

    with contextlib.closing(confined.connect(settings, rows.parent)) as con:
        try:
            return check_tables(con, folder, about, rows, records)
        except duckdb.Error as error:
            if shortage := explain_shortage(error):
                raise UsageError(f"The tables of {folder} cannot be read. {shortage}") from None
            words = escape_for_message(str(error).split("\n", maxsplit=1)[0])
            raise ManifestError(f"The tables of {folder} cannot be read: {words}") from None
