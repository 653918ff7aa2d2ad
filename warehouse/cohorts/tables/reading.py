"""Reads a table of the user's own: opens it on a confined connection, gives its columns types, and digests it.

The file may be untrusted, so its connection has no lake and can read only the copy of that file, and everything that
a file can state (rows, widths) is compared with a limit before it is loaded. Types are the declared ones, or inferred
from all rows (types.py); a value that does not fit its type is an error with its row.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.tables import source, types
from warehouse.cohorts.tables.declaration import explain_table_name
from warehouse.cohorts.tables.table import Given, Table
from warehouse.engine import confined, limits, query_text, sql_files
from warehouse.engine.messages import clean_message, explain_shortage
from warehouse.engine.names import fold_name, quote_name
from warehouse.engine.rows import fetch_first
from warehouse.errors import UsageError
from warehouse.filesystem import files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from warehouse.settings import Settings

#: The most rows, cells (an empty one takes memory too), bytes of text in one row, and bytes of text in all rows.
MOST_ROWS = 20_000_000
MOST_CELLS = 100_000_000
MOST_BYTES_OF_A_ROW = 1 << 20
MOST_BYTES_OF_TEXT = 1 << 30
#: Tables of one cohort.
MOST_TABLES = 20

_CSV_LINE = re.compile(r"Line: (\d+)")


def read_tables(
    given: Given, declared: Mapping[str, Mapping[str, str]], settings: Settings, needed: Collection[str] = ()
) -> dict[str, Table]:
    """Read the tables that were given; `declared` has the types of those that the cohort declares.

    UsageError describes what is wrong with a name, a file or a value. `needed` are the names that the cohort reads: a
    table that it does not read is an error.
    """
    if len(given) > MOST_TABLES:
        raise UsageError(f"{len(given):,} tables were given; the limit is {MOST_TABLES}.")
    known = {fold_name(name): name for name in needed}
    found: dict[str, Table] = {}
    for name, what in given.items():
        if wrong := explain_table_name(name):
            raise UsageError(f"The table {quote_name(name)} {wrong}")
        if fold_name(name) not in known:
            reads = f"It reads {', '.join(sorted(known.values()))}." if known else "It reads no table."
            raise UsageError(f"The cohort does not read a table {name}. {reads}")
        name = known[fold_name(name)]  # noqa: PLW2901 - as the cohort spells it
        if name in found:
            raise UsageError(f"Table {name} is given twice.")
        found[name] = read_table(name, what, declared.get(name), settings)
    return found


def read_table(name: str, what: Any, declared: Mapping[str, str] | None, settings: Settings) -> Table:
    """Read one table, from a path or a frame, within the limits of untrusted SQL."""
    import duckdb

    with files.open_temporary_folder() as folder, limits.limit_resources(settings):
        frame, copy, sha = None, None, ""
        if isinstance(what, str | os.PathLike):
            copy, sha = source.copy_private(name, Path(what), folder)
        else:
            frame = source.to_arrow(name, what)
        with contextlib.closing(confined.connect(settings, files=[copy] if copy else [])) as con:
            try:
                with limits.limit_resources(settings, con):
                    given = _open(con, name, copy, frame)
                    chosen = _choose_types(con, name, given, declared)
                    return _build(con, name, given, chosen, sha, is_declared=declared is not None)
            except duckdb.Error as error:
                raise _explain(name, error) from None


def _explain(name: str, error: Exception) -> UsageError:
    if shortage := explain_shortage(error):
        return UsageError(f"Table {name} cannot be read. {shortage}")
    text = clean_message(error)
    line = _CSV_LINE.search(text)
    words = text.split("\n")
    if line:
        more = next((word for word in words[1:] if word.startswith(("Expected", "Value", "Invalid"))), "")
        return UsageError(f"Table {name}: line {line[1]} is not valid CSV. {query_text.shorten(more, 300)}".rstrip())
    return UsageError(f"Table {name} cannot be read: {query_text.shorten(words[0], 300)}")


def _open(con: duckdb.DuckDBPyConnection, name: str, copy: Path | None, frame: pa.Table | None) -> dict[str, str]:
    """Create `given` from the copy of a file or from a frame; returns its columns with their types."""
    sql = sql_files.read_statements("tables/reading.sql")
    if copy is not None and copy.suffix == ".csv":
        form = source.read_csv_form(name, copy)
        columns = ", ".join(f"{sql_files.literal(column)}: 'VARCHAR'" for column in form.names)
        con.execute(
            sql_files.fill(
                sql["open csv"],
                file=sql_files.literal(str(copy)),
                delimiter=sql_files.literal(form.delimiter),
                columns=f"{{{columns}}}",
                most=str(2 * MOST_BYTES_OF_A_ROW),
                rows=str(_find_most_rows(len(form.names)) + 1),
            )
        )
        _check_size(con, name, "given", form.names)
        return dict.fromkeys(form.names, "VARCHAR")
    if copy is not None:
        file = sql_files.literal(str(copy))
        rows = f"read_parquet({file}, hive_partitioning = false)"
        length = fetch_first(con.execute(sql_files.fill(sql["length"], file=file)))
        stated = int(length[0]) if length else 0
        leaves = con.execute(sql_files.fill(sql["leaves"], file=file)).fetchall()
        names = tuple(column for column, _ in leaves)
        types.check_decimals(name, leaves)
    else:
        assert frame is not None
        con.register("frame_given", frame)
        rows, stated, names = "frame_given", frame.num_rows, tuple(frame.column_names)
    described = con.execute(sql_files.fill(sql["columns"], rows=rows)).fetchall()
    types.check_plain(name, described)
    source.check_columns(name, names)
    _check_rows(name, stated, len(described))
    _check_size(con, name, rows, [column for column, _ in described])
    con.execute(sql_files.fill(sql["open rows"], rows=rows))
    return {column: str(kind) for column, kind in described}


def _find_most_rows(columns: int) -> int:
    return min(MOST_ROWS, MOST_CELLS // columns)


def _check_rows(name: str, rows: int, columns: int) -> None:
    if rows > (most := _find_most_rows(columns)):
        raise UsageError(
            f"Table {name} has more than {most:,} rows, the limit with {columns:,} columns. Keep the rows and columns "
            "that the cohort reads."
        )


def _check_size(con: duckdb.DuckDBPyConnection, name: str, rows: str, columns: Collection[str]) -> None:
    """UsageError if the table is too large; nothing is loaded for this, because a small file can expand a lot."""
    texts = (f"coalesce(strlen(cast({sql_files.identifier(column)} as varchar)), 0)" for column in columns)
    sql = sql_files.read_statements("tables/reading.sql")["widest"]
    widest, total, count = con.execute(sql_files.fill(sql, bytes=" + ".join(texts), rows=rows)).fetchall()[0]
    _check_rows(name, count, len(columns))
    if widest > MOST_BYTES_OF_A_ROW:
        raise UsageError(f"Table {name} has a row of {widest:,} bytes; the limit is {MOST_BYTES_OF_A_ROW:,}.")
    if total > MOST_BYTES_OF_TEXT:
        raise UsageError(f"Table {name} has {total:,} bytes of values; the limit is {MOST_BYTES_OF_TEXT:,}.")


def _choose_types(
    con: duckdb.DuckDBPyConnection, name: str, given: Mapping[str, str], declared: Mapping[str, str] | None
) -> dict[str, str]:
    """Choose the type of each column to keep: the declared ones, or what all of its values fit."""
    if declared is None:
        return types.infer_types(con, given)
    there = {fold_name(column): column for column in given}
    if missing := [column for column in declared if fold_name(column) not in there]:
        raise UsageError(
            f"Table {name} lacks the declared column {missing[0]}. Its columns are {', '.join(given)}. "
            "Correct the table, or the declaration in the header."
        )
    return {there[fold_name(column)]: kind for column, kind in declared.items()}


def _build(
    con: duckdb.DuckDBPyConnection,
    name: str,
    given: Mapping[str, str],
    chosen: Mapping[str, str],
    sha: str,
    *,
    is_declared: bool,
) -> Table:
    """Cast the columns to their types, and digest the result."""
    types.check_fit(con, name, given, chosen)
    sql = sql_files.read_statements("tables/reading.sql")
    casts = ", ".join(types.render_cast(column, given[column], kind) for column, kind in chosen.items())
    con.execute(sql_files.fill(sql["typed"], columns=casts))
    rows = con.sql("from typed").to_arrow_table()
    return Table(
        name=name,
        columns=dict(chosen),
        n_rows=rows.num_rows,
        digest=_digest(con, chosen),
        file_sha256=sha,
        is_declared=is_declared,
        left_out=tuple(column for column in given if column not in chosen),
        rows=rows,
    )


def _digest(con: duckdb.DuckDBPyConnection, chosen: Mapping[str, str]) -> str:
    """Compute `sha256:` and 64 hex digits over names, types and rows; the order of the rows does not matter."""
    import pyarrow as pa

    sha = hashlib.sha256(f"{json.dumps([*chosen.items()], separators=(',', ':'))}\n".encode())
    texts = ", ".join(f"cast({sql_files.identifier(column)} as varchar)" for column in chosen)
    lines = sql_files.fill(sql_files.read_statements("tables/reading.sql")["lines"], texts=texts)
    for batch in con.sql(lines).to_arrow_reader(50_000):
        for line in batch.column(0).cast(pa.large_binary()).to_pylist():
            sha.update(line)
    return f"sha256:{sha.hexdigest()}"
