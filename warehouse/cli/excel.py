"""Streams rows into an Excel workbook: text stays text, and what Excel cannot hold is refused, never truncated."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any

from warehouse.engine.json_values import to_json_value
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

#: Limits of a sheet and of a cell (Microsoft, "Excel specifications and limits").
_ROWS, _COLUMNS, _CHARACTERS = 1_048_576, 16_384, 32_767
#: Excel keeps 15 digits of a number, and shows days before March 1900 wrongly.
_EXACT, _FIRST_DAY = 10**15, date(1900, 3, 1)


def write(names: Sequence[str], rows: Iterable[Sequence[object]], target: IO[bytes]) -> None:
    """Write a workbook with one sheet and a header row. UsageError if rows, columns or a text exceed Excel's limits."""
    from warehouse.filesystem import files

    if len(names) > _COLUMNS:
        raise UsageError(f"Excel allows {_COLUMNS:,} columns, and the answer has {len(names):,}. Write CSV or Parquet.")
    texts = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
    # Spooled rows go to a private folder, which the next start removes if this process is killed.
    with files.open_temporary_folder() as folder:
        settings = {"constant_memory": True, "in_memory": False, "tmpdir": str(folder), **texts}
        _write_sheet(names, rows, target, settings)


def _write_sheet(
    names: Sequence[str], rows: Iterable[Sequence[object]], target: IO[bytes], settings: dict[str, Any]
) -> None:
    import xlsxwriter

    book = xlsxwriter.Workbook(target, settings)
    sheet = book.add_worksheet()
    formats = {
        datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        date: book.add_format({"num_format": "yyyy-mm-dd"}),
        time: book.add_format({"num_format": "hh:mm:ss"}),
    }
    try:
        sheet.freeze_panes(1, 0)
        for at, name in enumerate(names):
            sheet.write_string(0, at, name, book.add_format({"bold": True}))
        for number, row in enumerate(rows, 1):
            if number >= _ROWS:
                raise UsageError(f"Excel allows {_ROWS - 1:,} rows, and the answer has more. Write CSV or Parquet.")
            for at, value in enumerate(row):
                _write_cell(sheet, number, at, value, formats, names[at])
    finally:
        book.close()


def _write_cell(sheet: Worksheet, row: int, column: int, value: object, formats: dict[type, Format], name: str) -> None:
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() | float() | Decimal() if _is_exact(value):
            sheet.write_number(row, column, value)
        case datetime() if value.date() >= _FIRST_DAY and not value.microsecond:
            sheet.write_datetime(row, column, value.replace(tzinfo=None), formats[datetime])
        case date() if not isinstance(value, datetime) and value >= _FIRST_DAY:
            sheet.write_datetime(row, column, value, formats[date])
        case time() if not value.microsecond:
            sheet.write_datetime(row, column, value.replace(tzinfo=None), formats[time])
        case _:
            text = _to_text(value)
            if len(text) > _CHARACTERS:
                raise UsageError(
                    f"Row {row:,} has {len(text):,} characters in {name}, and Excel allows {_CHARACTERS:,}. "
                    "Leave the column out, or write CSV or Parquet."
                )
            sheet.write_string(row, column, text)


def _is_exact(value: int | float | Decimal) -> bool:
    """Whether Excel can hold the number exactly."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite() and len(value.as_tuple().digits) <= 15
    return abs(value) < _EXACT


def _to_text(value: Any) -> str:
    if isinstance(value, Decimal | timedelta):
        return str(value)
    found = to_json_value(value)
    return (
        json.dumps(found, ensure_ascii=False) if isinstance(found, list | dict) else "" if found is None else str(found)
    )
