"""Checks the tables of a manifest against its manifest.json and its CSV; the first fault is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts
from warehouse.errors import ManifestError
from warehouse.manifests.rows import COLUMNS, compute_digest
from warehouse.manifests.sealing import HashedFile

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: The columns of records.parquet.
RECORD_COLUMNS = (
    ("patient_id", "VARCHAR"),
    ("group_name", "VARCHAR"),
    ("key", "VARCHAR"),
    ("source", "VARCHAR"),
    ("size", "BIGINT"),
    ("etag", "VARCHAR"),
    ("kind", "VARCHAR"),
    ("available_date", "DATE"),
    ("last_modified", "TIMESTAMP WITH TIME ZONE"),
    ("counts", "BOOLEAN"),
)

#: Types that a label may have: those that Parquet preserves, and lists of them.
LABEL_TYPES = re.compile(
    r"(BOOLEAN|U?(TINYINT|SMALLINT|INTEGER|BIGINT)|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)|VARCHAR|JSON|UUID|BLOB|INTERVAL"
    r"|DATE|TIME|TIMESTAMP(_NS)?|TIMESTAMP WITH TIME ZONE)(\[\])*"
)

#: The most bytes of text in one row; a key on S3 has up to 1,024.
_MOST_BYTES_OF_A_ROW = 1 << 20
_MOST_ROWS = 200_000_000
#: Batches for comparing texts.
_BATCH_ROWS, _BATCH_BYTES = 50_000, 64 << 20
_CSV_BLOCK = 8 << 20


def open_table(path: Path) -> str:
    """A Parquet file, as SQL for FROM."""
    return f"read_parquet({sql_files.literal(str(path))}, hive_partitioning = false)"


def check_tables(
    con: duckdb.DuckDBPyConnection, folder: Path, about: dict[str, Any], rows: Path, records: Path
) -> tuple[str, ...]:
    """Check the tables, which are copies and are written anew; the CSV is read from the folder, once.

    Returns the sources of both. ManifestError describes a fault; duckdb.Error means that a table cannot be read.
    """
    labels = about["cohort"]["labels"]
    _check_columns(con, folder, rows, [(name, kind) for name, kind, _ in COLUMNS], labels)
    _check_columns(con, folder, records, RECORD_COLUMNS, {})
    for path in (rows, records):
        _check_length(con, folder, path, about)
    _check_width(con, folder, records, about)
    batch = _check_width(con, folder, rows, about)
    for path in (rows, records):
        _write_anew(con, path)
    _check_csv(con, folder, rows, about["files"]["manifest.csv"], batch)
    _check_rows(con, folder, rows, about)
    _check_counts(con, folder, rows, about)
    if (found := compute_digest(con, open_table(rows), tuple(labels))) != about["digest"]:
        raise _to_error(folder, f"its rows have the digest {found}, manifest.json states {about['digest']}")
    return _read_sources(con, folder, rows, records, about)


def _to_error(folder: Path, what: str) -> ManifestError:
    return ManifestError(f"{folder} was altered: {what}. Get the manifest again from its sender.")


def _read_sql(name: str, **values: str) -> str:
    return sql_files.fill(sql_files.read_statements("manifests/check.sql")[name], **values)


def _fetch_one(con: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    (row,) = fetch_dicts(con.execute(query, parameters))
    return row


def _check_columns(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    path: Path,
    expected: Sequence[tuple[str, str]],
    labels: dict[str, str],
) -> None:
    found = [
        (str(name), str(kind)) for name, kind in con.execute(_read_sql("columns", rows=open_table(path))).fetchall()
    ]
    if [name for name, _ in found] != [*(name for name, _ in expected), *labels]:
        raise _to_error(folder, f"{path.name} has columns that differ from those in manifest.json")
    wrong = [name for (name, kind), (_, meant) in zip(found, expected, strict=False) if kind != meant]
    wrong += [name for name, kind in found[len(expected) :] if not LABEL_TYPES.fullmatch(kind)]
    if wrong:
        raise _to_error(folder, f"{path.name} has wrong types in {', '.join(wrong)}")


def _check_length(con: duckdb.DuckDBPyConnection, folder: Path, path: Path, about: dict[str, Any]) -> None:
    """Check the stated number of rows before they are counted, because a file can state any number.

    Equal rows take almost no space in Parquet, but those of a manifest differ: each has its own key and etag.
    """
    length = _fetch_one(con, _read_sql("length", file=sql_files.literal(str(path))))["n_rows"] or 0
    room = about["files"][path.name]["bytes"]
    room += about["files"]["manifest.csv"]["bytes"] if path.name == "manifest.parquet" else 0
    if length > min(_MOST_ROWS, room):
        raise _to_error(folder, f"{path.name} states {length:,} rows")
    if path.name == "manifest.parquet" and length != about["counts"]["objects"]:
        raise _to_error(folder, f"{path.name} has {length:,} rows, manifest.json states {about['counts']['objects']:,}")


def _read_columns(con: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    return [
        sql_files.identifier(name) for name, _ in con.execute(_read_sql("columns", rows=open_table(path))).fetchall()
    ]


def _check_width(con: duckdb.DuckDBPyConnection, folder: Path, path: Path, about: dict[str, Any]) -> int:
    """Check that no row is too wide and that the CSV is large enough for all; returns the rows per batch."""
    each = " + ".join(f"coalesce(strlen(cast({name} as varchar)), 0)" for name in _read_columns(con, path))
    found = _fetch_one(con, _read_sql("widest", rows=open_table(path), bytes=each))
    if found["widest"] > _MOST_BYTES_OF_A_ROW:
        raise _to_error(folder, f"{path.name} has a row of {found['widest']:,} bytes")
    if path.name == "manifest.parquet" and found["total"] > about["files"]["manifest.csv"]["bytes"]:
        raise _to_error(folder, "manifest.csv and manifest.parquet do not have the same rows")
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, int(found["widest"]))))


def _write_anew(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write a table anew, so that all who read it read the same rows.

    Its author may have it state statistics by which a query passes over rows, or places of pages that one library takes
    from here and another from there: one would check other rows than those which another then loads.
    """
    new = path.with_name(f"anew-{path.name}")
    con.execute(_read_sql("anew", rows=open_table(path), new=sql_files.literal(str(new))))
    new.replace(path)


def _check_csv(con: duckdb.DuckDBPyConnection, folder: Path, rows: Path, meant: dict[str, Any], batch: int) -> None:
    """Check that the CSV has the rows of the Parquet file, in order, and the hash stated in manifest.json."""
    import pyarrow as pa

    names = _read_columns(con, rows)
    texts = ", ".join(f"cast({name} as varchar) as {name}" for name in names)
    here = con.sql(_read_sql("texts", rows=open_table(rows), texts=texts)).to_arrow_reader(batch)
    with HashedFile(folder / "manifest.csv", meant) as file:
        try:
            is_same = _are_same(here, _read_csv(file, here.schema.names))
        except (pa.ArrowException, UnicodeError):
            is_same = False
        if not is_same:
            raise _to_error(folder, "manifest.csv and manifest.parquet do not have the same rows")
        file.check()


def _read_csv(file: HashedFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Read the CSV with all fields as text, empty unquoted ones as null; ArrowInvalid if its columns differ."""
    import pyarrow as pa
    from pyarrow import csv

    reader = csv.open_csv(
        pa.PythonFile(file, mode="r"),
        read_options=csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
    if reader.schema.names != names:
        raise pa.ArrowInvalid("other columns")
    yield from reader


def _are_same(one: Iterator[pa.RecordBatch], other: Iterator[pa.RecordBatch]) -> bool:
    """Whether two streams of texts have the same rows, regardless of their batches."""
    left, right = _next_batch(one), _next_batch(other)
    while left is not None and right is not None:
        rows = min(left.num_rows, right.num_rows)
        if left.slice(0, rows).columns != right.slice(0, rows).columns:
            return False
        left = left.slice(rows) if left.num_rows > rows else _next_batch(one)
        right = right.slice(rows) if right.num_rows > rows else _next_batch(other)
    return left is None and right is None


def _next_batch(batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    """Return the next non-empty batch, with 64-bit offsets; None at the end."""
    import pyarrow as pa

    for batch in batches:
        if batch.num_rows:
            return batch.cast(pa.schema([(name, pa.large_string()) for name in batch.schema.names]))
    return None


def _check_rows(con: duckdb.DuckDBPyConnection, folder: Path, rows: Path, about: dict[str, Any]) -> None:
    asked = {name: about[name] for name in ("objects", "group", "sources")}
    for problem, count in _fetch_one(con, _read_sql("problems", rows=open_table(rows)), asked).items():
        if count:
            raise _to_error(folder, f"{count:,} rows {problem}")
    ((twice,),) = con.execute(_read_sql("repeated", rows=open_table(rows))).fetchall()
    if twice:
        raise _to_error(folder, f"{twice:,} objects occur more than once")


def _check_counts(con: duckdb.DuckDBPyConnection, folder: Path, rows: Path, about: dict[str, Any]) -> None:
    found = _fetch_one(con, _read_sql("counts", rows=open_table(rows)))
    in_dcm = int(about["counts"].get("headers_in_dcm", 0))
    if "json" in about["objects"] and ("dcm" in about["objects"] or not in_dcm):
        found |= _fetch_one(con, _read_sql("images", rows=open_table(rows)), {"headers_in_dcm": in_dcm})
    for name, count in found.items():
        if count != (stated := about["counts"][name]):
            raise _to_error(folder, f"its rows have {count:,} {name}, manifest.json states {stated:,}")


def _read_sources(
    con: duckdb.DuckDBPyConnection, folder: Path, rows: Path, records: Path, about: dict[str, Any]
) -> tuple[str, ...]:
    found = _fetch_one(con, _read_sql("record_problems", rows=open_table(records)), {"group": about["group"]})
    for problem, count in found.items():
        if count:
            raise _to_error(folder, f"{count:,} rows of {records.name} {problem}")
    of_rows = {source for (source,) in con.execute(_read_sql("sources", rows=open_table(rows))).fetchall()}
    if of_rows != set(about["sources"]):
        raise _to_error(folder, "its rows have other sources than manifest.json states")
    sql = sql_files.fill(sql_files.read_statements("manifests/verify.sql")["sources"], records=open_table(records))
    return tuple(sorted(of_rows | {source for (source,) in con.execute(sql).fetchall()}))
