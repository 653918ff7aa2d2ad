"""The one place where answers become text: tables, CSV, JSON, Parquet; to the terminal or to a file.

JSON goes to stdout alone; whatever else there is to say goes to stderr.
"""

import csv
import json
import math
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from warehouse import files
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb

_BATCH = 10_000
#: Rows that a table on a terminal shows; a file or a pipe gets them all.
_SHOWN = 40


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def plain(value: object) -> Any:
    """A value as JSON has it: dates and times in ISO form, what is no number null."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case float() if not math.isfinite(value):
            return None
        case Decimal():
            return float(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case str() | int() | float() | bool() | None:
            return value
        case list() | tuple():
            return [plain(item) for item in value]
    return str(value)


def write_json(value: object, file: IO[str] | None = None) -> None:
    """Write one JSON value and a new line."""
    json.dump(plain(value), file or sys.stdout, ensure_ascii=False, indent=2)
    (file or sys.stdout).write("\n")


def write(
    relation: "duckdb.DuckDBPyRelation", form: Format | None, target: Path | None, *, shown: int = _SHOWN
) -> None:
    """Write the rows of a relation, streamed; to a file it is whole or not there at all.

    Without a format, a file's ending decides; else a table is written, of which a terminal shows so many rows.
    UsageError for Parquet without a file.
    """
    form = form or _by_ending(target) or Format.TABLE
    if target is None:
        if form is Format.PARQUET:
            raise UsageError("Parquet is no text: say -o FILE.parquet.")
        _write_text(relation, form, sys.stdout, shown)
        return
    try:
        if form is Format.PARQUET:
            with files.write_atomically(target) as file:
                _write_parquet(relation, file)
        else:
            with files.write_text_atomically(target) as text:
                _write_text(relation, form, text)
    except BrokenPipeError:  # the reader of a pipe that was named has gone
        raise
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None


def _by_ending(target: Path | None) -> Format | None:
    if target and target.suffix.lstrip(".") in (Format.CSV, Format.JSON, Format.PARQUET):
        return Format(target.suffix.lstrip("."))
    return None


def _write_text(relation: "duckdb.DuckDBPyRelation", form: Format, file: IO[str], shown: int = _SHOWN) -> None:
    match form:
        case Format.CSV:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(relation.columns)
            rows.writerows([_cell(value) for value in row] for row in _rows(relation))
        case Format.JSON:
            _write_json_rows(relation.columns, _rows(relation), file)
        case _:
            _write_table(relation, file, shown)


def _write_json_rows(names: Sequence[str], rows: Iterable[Sequence[object]], file: IO[str]) -> None:
    start = "["
    for row in rows:
        file.write(start + json.dumps(plain(dict(zip(names, row, strict=True))), ensure_ascii=False))
        start = ",\n "
    file.write("[]\n" if start == "[" else "]\n")


def _write_table(relation: "duckdb.DuckDBPyRelation", file: IO[str], shown: int) -> None:
    """DuckDB's own table; cut to the width and to some rows only where a person reads it."""
    is_terminal = file.isatty()
    count = None if is_terminal else 1_000_000
    width = shutil.get_terminal_size().columns if is_terminal else 10_000
    # show() can only print, so what it prints is caught when it is to go to a file.
    if file is sys.stdout:
        relation.show(max_rows=count or shown, max_width=width, max_col_width=60 if is_terminal else 10_000)
        return
    import contextlib

    with contextlib.redirect_stdout(file):
        relation.show(max_rows=count or shown, max_width=width, max_col_width=10_000)


def _rows(relation: "duckdb.DuckDBPyRelation") -> Iterator[tuple[Any, ...]]:
    relation.execute()
    while rows := relation.fetchmany(_BATCH):
        yield from rows


def _cell(value: object) -> object:
    value = plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _write_parquet(relation: "duckdb.DuckDBPyRelation", target: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    reader = relation.to_arrow_reader(_BATCH)
    with pq.ParquetWriter(target, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)


def note(text: str) -> None:
    """Say something beside the answer, on stderr."""
    sys.stderr.write(f"{text}\n")


def size(n_bytes: int) -> str:
    """A number of bytes as people read it, in units of a thousand."""
    from rich.filesize import decimal

    return decimal(n_bytes)
