"""Changes a lake's catalogue as a plain database, without DuckLake: for a purge, which must change old snapshots.

The lake must not be attached in this process, and the writer's lock must be held.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.lake import connection, encryption, locks
from warehouse.withdrawal.redaction import Patterns
from warehouse.withdrawal.rewriting import Written
from warehouse.withdrawal.stored import DataFile, DeleteFile

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.settings import Settings

_SQL = "withdrawal/catalogue.sql"
_NAME = "catalogue"
#: DuckDB's types of the types that DuckLake names; the statistics of others are left as they are.
_TYPES = {
    **{name: name for name in ("varchar", "date", "time", "timestamp", "timestamptz", "uuid", "blob")},
    "json": "varchar",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "int128": "hugeint",
    "uint8": "utinyint",
    "uint16": "usmallint",
    "uint32": "uinteger",
    "uint64": "ubigint",
    "float32": "float",
    "float64": "double",
}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A catalogue attached as a plain database."""

    con: duckdb.DuckDBPyConnection
    place: Location

    @property
    def schema(self) -> str:
        """The schema with DuckLake's tables, quoted."""
        return f"{_NAME}.{sql_files.identifier(self.place.schema if self.place.is_postgres else 'main')}"

    def run(self, name: str, values: Mapping[str, Any] | None = None, /, **holes: str) -> list[tuple[Any, ...]]:
        """Run a statement of sql/withdrawal/catalogue.sql."""
        query = sql_files.fill(sql_files.read_statements(_SQL)[name], catalogue=self.schema, **holes)
        return (self.con.execute(query, dict(values)) if values else self.con.execute(query)).fetchall()

    def list_snapshots(self, files: Sequence[DataFile]) -> set[int]:
        """The snapshots that need one of these files."""
        spans = [(file.begin_snapshot, file.end_snapshot) for file in files]
        return {
            number
            for (number,) in self.run("snapshots")
            if any(begin <= number and (end is None or number < end) for begin, end in spans)
        }

    def compact(self) -> None:
        """Write PostgreSQL's tables of the catalogue anew, without the versions of rows that are gone, and what its
        planner knows of their values; as far as this user may, PostgreSQL skips the rest."""
        schema = sql_files.identifier(self.place.schema)
        names = [name for (name,) in self.run("table_names", schema=sql_files.literal(self.place.schema))]
        for name in names:
            statement = sql_files.literal(f"vacuum (full, analyze) {schema}.{sql_files.identifier(name)}")
            self.run("execute", statement=statement)
        self.run("execute", statement=sql_files.literal("vacuum full pg_catalog.pg_statistic"))

    def list_planner_texts(self) -> list[tuple[str, str, str]]:
        """What PostgreSQL's planner knows of values of the catalogue's tables: table, column and values."""
        schema = sql_files.literal(self.place.schema)
        statement = (
            "select tablename::text, attname::text, concat(most_common_vals::text, histogram_bounds::text) "
            f"from pg_stats where schemaname = {schema}"
        )
        return self.run("planner", statement=sql_files.literal(statement))

    def require_lock(self) -> None:
        """LakeError if the writer's lock was lost meanwhile."""
        if self.place.is_postgres:
            locks.require_lock(self.con, _NAME)


@contextlib.contextmanager
def open_catalogue(place: Location, settings: Settings) -> Iterator[Catalogue]:
    """Attach the catalogue of a lake, but not the lake."""
    with contextlib.closing(connection.connect(settings, place)) as con:
        if place.is_postgres:
            connection.attach_postgres(con, place, _NAME)
        else:
            connection.attach_sqlite(con, place.catalogue, _NAME)
        con.execute("set preserve_insertion_order = true")
        if Catalogue(con, place).run("encrypted"):
            connection.load_extension(con, encryption.CIPHERS)
            encryption.protect_spill(con)
        yield Catalogue(con, place)


def swap_data_file(catalogue: Catalogue, file: DataFile, done: Written, gone: int) -> None:
    """Put a new data file in the place of the old one, or nothing in the place of one without other rows."""
    _schedule(catalogue, file.file_id, file.path)
    if file.end_snapshot is None:
        size = _find_size(catalogue, file) - done.file_size
        values = {"n_rows": gone, "bytes": size, "table_id": file.table_id}
        catalogue.run("table_size", values)
    catalogue.run("forget_statistics", {"file_id": file.file_id})
    if not done.n_rows:
        for table in ("ducklake_data_file", "ducklake_file_partition_value", "ducklake_file_variant_stats"):
            catalogue.run("drop_data_file", {"file_id": file.file_id}, table=table)
        return
    catalogue.run("data_file", _describe(done) | {"file_id": file.file_id})
    import pyarrow as pa

    rows = [(file.file_id, file.table_id, *astuple(one)) for one in done.statistics]
    names = ("data_file_id", "table_id", "column_id", "size", "n_values", "n_nulls", "least", "greatest", "has_nan")
    types = [pa.int64()] * 6 + [pa.string()] * 2 + [pa.bool_()]
    columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), types, strict=True)]
    catalogue.con.register("statistics_written", pa.table(columns, names=list(names)))
    catalogue.run("statistics")
    catalogue.con.unregister("statistics_written")


def swap_delete_file(catalogue: Catalogue, file: DeleteFile, done: Written | None) -> None:
    """Put a new delete file in the place of the old one; none where no position is left, or no data file."""
    _schedule(catalogue, file.delete_id, file.path)
    if done and done.n_rows:
        catalogue.run("delete_file", _describe(done) | {"file_id": file.delete_id})
    else:
        catalogue.run("drop_delete_file", {"file_id": file.delete_id})


def renew_table_statistics(catalogue: Catalogue, table_id: int) -> None:
    """Compute the least and greatest values of a table again, for the columns that have them."""
    types = dict(catalogue.run("columns", {"table_id": table_id}))
    old = {column: values for column, *values in catalogue.run("old_table_statistics", {"table_id": table_id})}
    by_kind: dict[str | None, list[int]] = defaultdict(list)
    for column_id in old:
        if (name := types.get(column_id, "")) != "boolean":
            by_kind[_TYPES.get(name)].append(column_id)
    for kind, column_ids in by_kind.items():
        new: dict[int, list[str | None]] = {}
        if kind:
            place = {"table_id": table_id, "column_ids": column_ids}
            new = {column: values for column, *values in catalogue.run("table_statistics", place, type=kind)}
        for column_id in column_ids:
            least, greatest = new.get(column_id, [None, None])
            if [least, greatest] != old[column_id]:
                values = {"table_id": table_id, "column_id": column_id, "min_value": least, "max_value": greatest}
                catalogue.run("renew_table_statistics", values)


def redact_texts(catalogue: Catalogue, patterns: Patterns) -> int:
    """Redact every text of DuckLake's tables that names a purged patient, such as messages of commits; returns how
    many. The statistics of files were written anew."""
    done = 0
    place = catalogue.place
    schema = place.schema if place.is_postgres else "main"
    for table, column in catalogue.run("tables", database=sql_files.literal(_NAME), schema=sql_files.literal(schema)):
        holes = {"table": sql_files.identifier(table), "column": sql_files.identifier(column)}
        for (text,) in catalogue.run("texts", **holes):
            if (new := patterns.redact(text)) != text:
                catalogue.run("redact", {"old": text, "new": new}, **holes)
                done += 1
    return done


def _describe(done: Written) -> dict[str, Any]:
    return {
        "path": done.stored_path,
        "n_rows": done.n_rows,
        "file_size": done.file_size,
        "footer_size": done.footer_size,
    }


def _schedule(catalogue: Catalogue, file_id: int, path: str) -> None:
    data_path = catalogue.place.data_path
    is_below = path.startswith(data_path)  # so that a lake that is moved before it is cleaned up removes its own files
    values = {"file_id": file_id, "path": path.removeprefix(data_path)}
    now = sql_files.literal(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}+00")
    if catalogue.place.is_postgres:
        catalogue.run("schedule", values, relative=str(is_below).lower(), now=f"cast({now} as timestamptz)")
    else:
        catalogue.run("schedule", values, relative=str(int(is_below)), now=now)


def _find_size(catalogue: Catalogue, file: DataFile) -> int:
    ((size,),) = catalogue.run("file_size", {"file_id": file.file_id})
    return int(size)
