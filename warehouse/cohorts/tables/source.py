"""Opens what was given as a table: a file, copied to a private folder and hashed, or a frame, as an Arrow table.

The file may be untrusted: only a regular file is read, once, up to a limit, and the copy is what is used.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from warehouse.cohorts.tables.declaration import MOST_COLUMNS
from warehouse.engine.names import check_names, quote_name
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

#: The largest file, in bytes.
MOST_BYTES = 512 << 20
#: The longest header line of a CSV, in bytes.
_MOST_HEADER = 1 << 20
_CHUNK = 1 << 20
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How a CSV file is written: the names in its header, and what separates its cells."""

    names: tuple[str, ...]
    delimiter: str


def copy_private(name: str, path: Path, folder: Path) -> tuple[Path, str]:
    """Copy a table's file into a private folder; returns the copy and the SHA-256 of its bytes.

    UsageError if it is neither .csv nor .parquet, not a regular file, too large or cannot be read.
    """
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise UsageError(f"Table {name}: {path} is neither .csv nor .parquet. Save it as one of these.")
    copy, sha, size = folder / f"table{ending}", hashlib.sha256(), 0
    try:
        with _open_regular(name, path) as file, copy.open("xb") as target:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > MOST_BYTES:
                    raise UsageError(
                        f"Table {name}: {path} has more than {MOST_BYTES >> 20} MiB, the limit for a table. "
                        "Keep only the rows and columns that the cohort reads."
                    )
                sha.update(chunk)
                target.write(chunk)
    except OSError as error:
        raise UsageError(f"Table {name}: {path} cannot be read: {error.strerror or error}.") from None
    return copy, sha.hexdigest()


def _open_regular(name: str, path: Path) -> IO[bytes]:
    """Open a regular file without blocking on a pipe or a device."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except ValueError as error:  # a NUL byte in the path
        raise UsageError(f"Table {name}: {quote_name(str(path))} cannot be read: {error}.") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UsageError(f"Table {name}: {path} is not a regular file.")
    return os.fdopen(handle, "rb")


def read_csv_form(name: str, path: Path) -> CsvForm:
    """Read the header of a CSV; UsageError if it lacks one, is not UTF-8, or names columns as a table cannot."""
    with path.open("rb") as file:
        start = file.read(_MOST_HEADER)
    line = start.partition(b"\n")[0]
    if len(line) == len(start) == _MOST_HEADER:
        raise UsageError(
            f"Table {name}: the first line has more than {_MOST_HEADER:,} bytes. It must name the columns."
        )
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError:
        raise UsageError(f"Table {name} is not text in UTF-8. Save it as CSV in UTF-8.") from None
    delimiter = max(_DELIMITERS, key=text.count)
    try:
        names = tuple(
            cell.strip() for cell in next(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), [])
        )
    except csv.Error as error:
        raise UsageError(f"Table {name}: the header line cannot be read: {error}.") from None
    check_columns(name, names)
    return CsvForm(names, delimiter)


def check_columns(name: str, names: tuple[str, ...]) -> None:
    """UsageError unless a table can have columns of these names."""
    if not names:
        raise UsageError(f"Table {name} is empty: it needs a header line with the names of its columns.")
    if len(names) > MOST_COLUMNS:
        raise UsageError(f"Table {name} has {len(names):,} columns; the limit is {MOST_COLUMNS:,}.")
    if problems := check_names(names, "column"):
        raise UsageError(f"Table {name}: {problems[0]} Rename it.")


def to_arrow(name: str, frame: Any) -> pa.Table:
    """Convert a frame to an Arrow table: polars, pandas, Arrow, a DuckDB relation, or what exports an Arrow stream."""
    import pyarrow as pa

    try:
        if isinstance(frame, pa.Table):
            return frame
        if isinstance(frame, pa.RecordBatch):
            return pa.Table.from_batches([frame])
        if type(frame).__module__.partition(".")[0] == "pandas":
            return pa.Table.from_pandas(frame, preserve_index=False)
        for method in ("collect", "to_arrow_table"):  # a lazy frame of polars, a relation of DuckDB
            if hasattr(frame, method):
                frame = getattr(frame, method)()
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(f"Table {name} cannot be converted to Arrow: {error}.") from None
    raise UsageError(
        f"Table {name} is a {type(frame).__name__}. Give a path, or a frame of polars, pandas, Arrow or DuckDB."
    )
