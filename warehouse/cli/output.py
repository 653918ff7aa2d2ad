"""Writes answers as tables, CSV, JSON, Excel or Parquet, to the terminal or to a file.

With JSON, stdout has nothing but the JSON; notes go to stderr.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from warehouse.cli.terminal import get_plain_stream
from warehouse.engine.json_values import render_json_row, to_cell, to_json_value, write_csv
from warehouse.errors import UsageError
from warehouse.filesystem import checksums, files
from warehouse.masking import mask_secrets
from warehouse.text import defuse_formula, escape_controls, escape_json

if TYPE_CHECKING:
    import duckdb

_BATCH = 10_000
#: The most rows shown in a table on a terminal; files and pipes get all.
_SHOWN = 40
#: The greatest width of a table cell on a terminal.
_CELL = 60
#: The same where columns compete for space; less on a narrow terminal, so that two wide columns and a short one fit.
_NARROW, _SHORT = 40, 8


class Format(StrEnum):
    """Output format of an answer."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    XLSX = "xlsx"
    CSV_EXCEL = "csv-excel"  # for a person: a byte order mark, by which Excel recognises UTF-8, and no formulas


#: Formats that a file extension selects, and formats that cannot be printed.
_ENDINGS = (Format.CSV, Format.JSON, Format.PARQUET, Format.XLSX)
_BINARY = {Format.PARQUET: "Parquet", Format.XLSX: "An Excel workbook"}


def write_json(value: object) -> None:
    """Write one JSON value and a line feed to stdout; control characters as `\\u…`, which parse to the same value."""
    file = get_plain_stream(sys.stdout)
    for piece in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(to_json_value(value)):
        file.write(escape_json(piece))
    file.write("\n")


def write_rows(
    relation: duckdb.DuckDBPyRelation,
    form: Format | None,
    target: Path | None,
    *,
    shown: int = _SHOWN,
    first: Sequence[str] = (),
    origin: Mapping[str, str] | None = None,
    is_alone: bool = True,
) -> None:
    """Write the rows of a relation, streamed; a file is written completely or not at all.

    Parquet carries `origin` as metadata (warehouse/query/origin.py), and has FILE.sha256 beside it if it `is_alone`:
    not in a folder that has the hashes of all.

    Without a format, the file's extension decides; without a file, it is a table; a terminal shows `shown` rows of it
    and the columns that fit, `first` before the others.
    UsageError for Parquet and Excel without a file, and for an unknown extension.
    """
    form = form or _find_format(target)
    if target is None:
        if form in _BINARY:
            raise UsageError(f"{_BINARY[form]} cannot be printed. Write it to a file:  -o FILE.{form}")
        cell = _CELL
        if form is Format.TABLE and first and sys.stdout.isatty():
            room = shutil.get_terminal_size().columns - 1
            cell = max(_SHORT, min(_NARROW, room // 2 - _SHORT))
            relation = _select_fitting(relation, first, room, cell)
        _write_text(relation, form, sys.stdout, shown, cell)
        return
    try:
        if form is Format.PARQUET:
            if is_alone:
                with checksums.write_with_checksum(target) as hashed:
                    _write_parquet(relation, hashed, origin or {})
            else:
                with files.write_atomically(target) as file:
                    _write_parquet(relation, file, origin or {})
        elif form is Format.XLSX:
            from warehouse.cli import excel

            with files.write_atomically(target) as file:
                excel.write(relation.columns, _fetch_rows(relation), file)
        else:
            with files.write_text_atomically(target) as text:
                _write_text(relation, form, text)
    except BrokenPipeError:  # the target is a named pipe whose reader has closed it
        raise
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from None


def is_parquet(form: Format | None, target: Path | None) -> bool:
    """Whether an answer is written as Parquet: the only format with room for where it is from."""
    return target is not None and (form or _find_format(target)) is Format.PARQUET


def _select_fitting(
    relation: duckdb.DuckDBPyRelation, first: Sequence[str], room: int, cell: int
) -> duckdb.DuckDBPyRelation:
    """Select the columns that fit `room`, in their order, each up to `cell` wide; a note names the others."""
    from warehouse.cli import box
    from warehouse.engine.sql_files import identifier

    widths = dict(zip(relation.columns, box.measure_widths(relation), strict=True))
    kept = set[str]()
    for name in dict.fromkeys([*(name for name in first if name in widths), *relation.columns]):
        if (width := min(widths[name], cell) + 3) <= room:
            room -= width
            kept.add(name)
    if left := [name for name in relation.columns if name not in kept]:
        print_note(f"No room for {', '.join(left)}: -o FILE or a wider terminal shows all.")
    return relation.project(", ".join(identifier(name) for name in relation.columns if name in kept))


def _find_format(target: Path | None) -> Format:
    """The format of a file's extension; a table without a file and for .txt."""
    if target is None or target.suffix.lower() == ".txt":
        return Format.TABLE
    ending = target.suffix.lstrip(".").lower()
    if ending not in _ENDINGS:
        known = ", ".join(f".{name}" for name in _ENDINGS)
        what = f"unknown extension .{ending}" if ending else "no extension, so the format is unknown"
        raise UsageError(f"{target}: {what}. Use {known} or .txt (a table), or give --format.")
    return Format(ending)


def _write_text(
    relation: duckdb.DuckDBPyRelation, form: Format, file: IO[str], shown: int = _SHOWN, cell: int = _CELL
) -> None:
    match form:
        case Format.CSV | Format.CSV_EXCEL:
            # Unchanged for files and pipes; escaped for a person at a terminal.
            to = _Lines(file) if file.isatty() else get_plain_stream(file)
            rows = chain([relation.columns], _fetch_rows(relation))
            if form is Format.CSV:
                write_csv(to, ([to_cell(value) for value in row] for row in rows))
                return
            to.write("" if file.isatty() else "\ufeff")
            csv.writer(to, lineterminator="\r\n").writerows([_to_excel_cell(value) for value in row] for row in rows)
        case Format.JSON:
            _write_json_rows(relation.columns, _fetch_rows(relation), get_plain_stream(file))
        case _ if file.isatty():
            # DuckDB's own table, cut to the width and the number of rows. It prints to sys.stdout, which escapes.
            relation.show(max_rows=shown, max_width=shutil.get_terminal_size().columns, max_col_width=cell)
        case _:
            from warehouse.cli import box

            for line in box.render_lines(relation):
                file.write(f"{line}\n")


def _to_excel_cell(value: object) -> object:
    """A cell for Excel, which would otherwise run a text of the lake that begins like a formula."""
    cell = to_cell(value)
    return defuse_formula(cell) if isinstance(cell, str) else cell


class _Lines:
    """Writes each row as one line to a terminal, line feeds in it escaped; csv.writer calls write() once per row."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(escape_controls(row.rstrip("\r\n"), keep_lines=False) + "\n")


def _write_json_rows(names: Sequence[str], rows: Iterable[Sequence[object]], file: IO[str]) -> None:
    start = "["
    for row in rows:
        file.write(start + render_json_row(names, row))
        start = ",\n "
    file.write("[]\n" if start == "[" else "]\n")


def _fetch_rows(relation: duckdb.DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    relation.execute()
    while rows := relation.fetchmany(_BATCH):
        yield from rows


def _write_parquet(
    relation: duckdb.DuckDBPyRelation, target: IO[bytes] | checksums.HashedFile, origin: Mapping[str, str]
) -> None:
    import pyarrow.parquet as pq

    reader = relation.to_arrow_reader(_BATCH)
    schema = reader.schema.with_metadata({**(reader.schema.metadata or {}), **origin})
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)


def print_line(text: str) -> None:
    """Write a line of the answer to stdout: secrets masked, control characters (line feeds too) escaped."""
    sys.stdout.write(escape_controls(mask_secrets(text), keep_lines=False) + "\n")


def print_note(text: str) -> None:
    """Write a note about the answer to stderr, masked and escaped in the same way."""
    sys.stderr.write(escape_controls(mask_secrets(text), keep_lines=False) + "\n")


def format_count(number: int, word: str) -> str:
    """Format a count with its noun: `1 file`, `2,000 files`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def format_size(n_bytes: int) -> str:
    """Format a number of bytes for people, in powers of 1,000."""
    from rich.filesize import decimal

    return decimal(n_bytes)
