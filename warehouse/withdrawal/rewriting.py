"""Writes Parquet files of a lake anew, without the rows of purged patients and without texts that name them.

The new file has the same columns, types, field ids and order of rows; rows keep their ids. Both are compared before
anybody reads the new one.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts, fetch_first
from warehouse.errors import LakeError
from warehouse.withdrawal.stored import DataFile, DeleteFile, render_encryption, render_scan

if TYPE_CHECKING:
    import duckdb

_SQL = "withdrawal/rewriting.sql"
#: DuckLake's own columns of a Parquet file, and their field ids.
_ROW_ID, _ROW_ID_FIELD = "_ducklake_internal_row_id", 2147483540
_SNAPSHOT, _SNAPSHOT_FIELD = "_ducklake_internal_snapshot_id", 2147483539
_DELETE_FIELDS = {"file_path": 2147483646, "pos": 2147483645}
#: What a scan adds to the columns of a file.
_OF_SCAN = ("filename", "file_row_number")
_LEAST_GROUP = 2048
_NAMES = re.compile(r'"((?:[^"]|"")*)"')


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the catalogue keeps of a column of a file."""

    column_id: int
    column_size: int
    value_count: int
    null_count: int
    minimum: str | None
    maximum: str | None
    has_nan: bool | None


@dataclass(frozen=True, slots=True)
class Written:
    """A new file: its path and that in the catalogue, and what the catalogue keeps of it. Without rows, none was
    written."""

    path: str
    stored_path: str
    n_rows: int
    file_size: int
    footer_size: int
    statistics: tuple[Statistics, ...] = ()


@dataclass(frozen=True, slots=True)
class _Node:
    """A column of a Parquet file, or a part of one."""

    name: str
    field_id: int | None
    children: tuple[_Node, ...]

    def render(self) -> str:
        name = sql_files.identifier(self.name)
        if not self.children:
            return f"{name}: {self.field_id}"
        inner = ", ".join(child.render() for child in self.children)
        return f"{name}: {{__duckdb_field_id: {self.field_id}, {inner}}}"

    def walk(self, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
        place = (*above, self.name)
        if self.field_id is not None:
            yield place, self.field_id
        for child in self.children:
            yield from child.walk(place)


def rewrite_data_file(
    con: duckdb.DuckDBPyConnection, catalogue: str, file: DataFile, positions: list[int], replaced: dict[str, str]
) -> Written:
    """Write a data file without the rows at these positions; `replaced` has columns and what is put in their place.

    LakeError if the new file does not have exactly the other rows.
    """
    target, stored = _name_new(file)
    if len(positions) == file.record_count:
        return Written(target, stored, 0, 0, 0)
    con.execute(_read("doomed"), {"positions": positions})
    nodes = _read_schema(con, catalogue, file)
    names = [node.name for node in nodes]
    columns = ", ".join(replaced.get(name, sql_files.identifier(name)) for name in names)
    if _ROW_ID not in names:
        columns += f", {file.row_id_start or 0} + file_row_number as {_ROW_ID}"
        nodes.append(_Node(_ROW_ID, _ROW_ID_FIELD, ()))
    n_group = _LEAST_GROUP
    if not file.encryption_key:  # whose layout cannot be asked for
        row = fetch_first(con.execute(sql_files.fill(_read("rows_a_group"), path=sql_files.literal(file.path))))
        n_group = max(n_group, int(row[0] or 0)) if row else n_group
    query = sql_files.fill(
        _read("write"),
        columns=columns,
        scan=render_scan([file]),
        target=sql_files.literal(target),
        rows_a_group=str(n_group),
        field_ids=f"{{{', '.join(node.render() for node in nodes)}}}",
        encryption=render_encryption(file.encryption_key),
    )
    ((_, n_rows, size, footer, found, *_),) = con.execute(query).fetchall()
    by_name = {place: field for node in nodes for place, field in node.walk()}
    statistics = tuple(
        _to_statistics(by_name[place], values)
        for name, values in found.items()
        if (place := tuple(part.replace('""', '"') for part in _NAMES.findall(name))) in by_name
        and by_name[place] < _SNAPSHOT_FIELD
    )
    done = Written(target, stored, n_rows, size, footer, statistics)
    _compare(con, catalogue, file, done, names, replaced, len(positions))
    return done


def rewrite_delete_file(
    con: duckdb.DuckDBPyConnection, file: DeleteFile, data_path: str, positions: list[int]
) -> Written:
    """Write a delete file for the new data file at `data_path`, from which the rows at these positions are gone."""
    if file.format != "parquet":
        raise LakeError(f"{file.path} is of a format that cannot be purged ({file.format}). Run chest maintain first.")
    target, stored = _name_new(file)
    con.execute(_read("doomed"), {"positions": positions})
    has_snapshot = _SNAPSHOT in con.sql(f"from {render_scan([file])}").columns
    fields = _DELETE_FIELDS | ({_SNAPSHOT: _SNAPSHOT_FIELD} if has_snapshot else {})
    query = sql_files.fill(
        _read("write_deletes"),
        path=sql_files.literal(data_path),
        snapshot=f", deletes.{_SNAPSHOT}" if has_snapshot else "",
        scan=render_scan([file]),
        target=sql_files.literal(target),
        field_ids=f"{{{', '.join(f'{name}: {field}' for name, field in fields.items())}}}",
        encryption=render_encryption(file.encryption_key),
    )
    ((_, n_rows, size, footer, *_),) = con.execute(query).fetchall()
    return Written(target, stored, n_rows, size, footer)


def _name_new(file: DataFile | DeleteFile) -> tuple[str, str]:
    """A new name beside a file: the path, and the path in the catalogue."""
    name = f"ducklake-{uuid.uuid4()}{'-delete' if isinstance(file, DeleteFile) else ''}.parquet"
    return (f"{file.path.rpartition('/')[0]}/{name}", f"{file.stored_path.rpartition('/')[0]}/{name}".lstrip("/"))


def _read_schema(con: duckdb.DuckDBPyConnection, catalogue: str, file: DataFile) -> list[_Node]:
    """The columns of a file with their field ids; those of an encrypted file from the catalogue, where they are too."""
    if file.encryption_key:
        return _build_schema(con, catalogue, file)
    query = sql_files.fill(_read("schema"), path=sql_files.literal(file.path))
    rows = iter(fetch_dicts(con.execute(query)))
    root = next(rows)

    def read_node() -> _Node:
        row = next(rows)
        if row["converted_type"] in ("LIST", "MAP"):
            next(rows)  # the repeated group, which has no name of its own
            return _Node(row["name"], row["field_id"], (read_node(),))
        return _Node(row["name"], row["field_id"], tuple(read_node() for _ in range(row["n_children"])))

    return [read_node() for _ in range(root["n_children"])]


def _build_schema(con: duckdb.DuckDBPyConnection, catalogue: str, file: DataFile) -> list[_Node]:
    query = sql_files.fill(_read("columns"), catalogue=catalogue)
    columns = fetch_dicts(con.execute(query, {"table_id": file.table_id}))

    def build(row: dict[str, Any]) -> _Node:
        inner = [each for each in columns if each["parent_column"] == row["column_id"]]
        return _Node(row["column_name"], row["column_id"], tuple(map(build, inner)))

    top = {row["column_name"]: row for row in columns if row["parent_column"] is None}
    own = {_ROW_ID: _ROW_ID_FIELD, _SNAPSHOT: _SNAPSHOT_FIELD}
    names = [name for name in con.sql(f"from {render_scan([file])}").columns if name not in _OF_SCAN]
    return [_Node(name, own[name], ()) if name in own else build(top[name]) for name in names]


def _compare(
    con: duckdb.DuckDBPyConnection,
    catalogue: str,
    file: DataFile,
    done: Written,
    names: list[str],
    replaced: dict[str, str],
    gone: int,
) -> None:
    """LakeError unless the new file has the rows, types and field ids of the old one, apart from what is purged."""
    written = replace(file, path=done.path)
    old, new = _read_schema(con, catalogue, file), _read_schema(con, catalogue, written)
    same = [sql_files.identifier(name) for name in names if name not in replaced]
    kept = (
        f"(select {', '.join(same)} from {render_scan([file])} where file_row_number not in (select pos from doomed))"
    )
    now = f"(select {', '.join(same)} from {render_scan([written])})"
    row = fetch_first(con.execute(sql_files.fill(_read("compare"), kept=kept, written=now)))
    types = [
        con.sql(f"select {', '.join(map(sql_files.identifier, names))} from {render_scan([one])}").types
        for one in (file, written)
    ]
    is_same = [n for n in new if n.name in names] == old and types[0] == types[1]
    expected = file.record_count - gone
    if row != (expected, expected, 0) or done.n_rows != expected or not is_same:
        raise LakeError(f"{file.path} could not be written anew exactly. Nothing was purged; the lake is unchanged.")


def _to_statistics(column_id: int, values: dict[str, str]) -> Statistics:
    nulls = int(values.get("null_count", 0))
    return Statistics(
        column_id,
        int(values.get("column_size_bytes", 0)),
        int(values.get("num_values", 0)) - nulls,
        nulls,
        values.get("min"),
        values.get("max"),
        values["has_nan"] == "true" if "has_nan" in values else None,
    )


def _read(name: str) -> str:
    return sql_files.read_statements(_SQL)[name]
