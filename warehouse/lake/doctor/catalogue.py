"""Examines a lake's catalogue: the file itself in another process, then what its tables refer to."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from warehouse.engine import sql_files
from warehouse.errors import LakeError
from warehouse.lake import data_path, migrations
from warehouse.lake.backup.contents import check_integrity
from warehouse.lake.doctor.findings import Finding, Kind
from warehouse.lake.location import CATALOGUE, Location
from warehouse.lake.snapshots import find_catalogue

SQL = "doctor/catalogue.sql"
RESTORE = "Restore it from the newest backup:  chest doctor --repair --from-backup DIR"
#: The tables of DuckLake without which the lake cannot be read.
_TABLES = [
    f"ducklake_{name}"
    for name in (
        *("column", "data_file", "delete_file", "file_column_stats", "file_partition_value", "metadata", "schema"),
        *("files_scheduled_for_deletion", "partition_column", "partition_info", "schema_versions", "snapshot"),
        *("snapshot_changes", "table", "table_stats", "view"),
    )
]


def find_file_faults(location: Location) -> list[Finding]:
    """What is wrong with the SQLite file of a catalogue; empty for PostgreSQL, which checks its own pages."""
    if location.is_postgres:
        return []
    try:
        size = location.catalogue.stat().st_size
    except FileNotFoundError:
        return [Finding(Kind.CATALOGUE, CATALOGUE, "The catalogue is missing, so no file can be read.", RESTORE)]
    except OSError as error:
        raise LakeError(f"The lake {location.name} cannot be opened: {error.strerror}.") from None
    if not size:
        return [Finding(Kind.CATALOGUE, CATALOGUE, "The catalogue is empty, so no file can be read.", RESTORE)]
    faults = check_integrity(location.catalogue)
    if not faults:
        return []
    what = f"The catalogue is damaged: {faults[0].rstrip('.')}."
    return [Finding(Kind.CATALOGUE, CATALOGUE, what, RESTORE)]


def find_faults(con: duckdb.DuckDBPyConnection, location: Location) -> Iterator[Finding]:
    """What is wrong within the catalogue of the attached lake."""
    where = "the catalogue" if location.is_postgres else CATALOGUE
    sql = sql_files.read_statements(SQL)
    gone = False
    for table in _TABLES:
        query = sql_files.fill(sql["table"], catalogue=find_catalogue(location), table=sql_files.identifier(table))
        try:
            con.execute(query).fetchall()
        except (duckdb.CatalogException, duckdb.BinderException):
            gone = True
            yield Finding(Kind.CATALOGUE, where, f"Its table {table} is missing.", RESTORE)
    if gone:
        return
    query = sql_files.fill(sql["references"], catalogue=find_catalogue(location))
    for fault, example, count in con.execute(query).fetchall():
        yield Finding(Kind.CATALOGUE, where, f"It has {count:,} {fault}, such as {example}.", RESTORE)
    yield from _find_version_faults(con, location)


def _find_version_faults(con: duckdb.DuckDBPyConnection, location: Location) -> Iterator[Finding]:
    try:
        migrations.check_version(con, location)  # an older one is upgraded by the next refresh
    except LakeError as error:
        yield Finding(Kind.VERSION, "ops.migrations", str(error), "Install the version that made it, or a later one.")
    except duckdb.Error:  # its file is damaged, which is a finding of its own
        return


def find_place_faults(con: duckdb.DuckDBPyConnection, location: Location, stored: dict[str, int]) -> Iterator[Finding]:
    """Whether catalogue and data path belong together, by the mark of the data path."""
    where = location.data_path + data_path.MARK
    try:
        lake, newest = data_path.read_identity(con, location)
        mark = data_path.read_mark(con, location.data_path)
        above = data_path.find_lake_above(con, location)
        odd = data_path.find_odd_link(location)
    except LakeError as error:
        yield Finding(Kind.PLACE, where, str(error), "See docs/operations.md, When something is wrong.")
        return
    if mark and mark[0] != lake:
        what = "The files are of another lake: two lakes share this data path, or the catalogue is not theirs."
        yield Finding(Kind.PLACE, where, what, "Give each lake a data path of its own, restored from its own backup.")
    elif mark and mark[1] > newest:
        what = f"The catalogue ends with snapshot {newest}, its files with {mark[1]}: it is an older copy."
        do = f"Put the newer catalogue back. To go on with the older one and lose what came later, remove {where}."
        yield Finding(Kind.PLACE, where, what, do)
    if odd:
        yield Finding(Kind.PLACE, location.data_path, *odd)
    inside = [name for name in stored if name.endswith(f"/{data_path.MARK}")]
    for other in [*([above] if above else []), *inside]:
        what = "One data path lies in another, whose maintenance would remove the files of both."
        yield Finding(Kind.PLACE, other, what, "Move one of the two lakes.")
