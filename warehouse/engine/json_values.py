"""JSON: reads texts of somebody else, and converts what DuckDB returns for JSON and for cells of CSV, the same on the
command line and in the service."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from warehouse.text import escape_json

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


#: Far more than any text of ours is nested; Python's own limit depends on where it is read.
_MOST_DEEP = 100


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that somebody else may have written; ValueError if it is none, or nested deeper than ours ever is."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level, depth = [found], 0
    while level := [inner for value in level for inner in _list_inner(value)]:
        depth += 1
        if depth > _MOST_DEEP:
            raise ValueError("it is nested too deeply")
    return found


def _list_inner(value: object) -> Iterable[object]:
    """What is nested in a value, of what may have more in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in inner if isinstance(each, dict | list))


def to_json_value(value: object) -> Any:
    """Convert a value for JSON: dates and times to ISO 8601, NaN and infinity to null."""
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
            return {str(name): to_json_value(item) for name, item in value.items()}
        case str() | int() | float() | bool() | None:
            return value
        case list() | tuple():
            return [to_json_value(item) for item in value]
    return str(value)


def render_json(value: object) -> str:
    """Render a value as JSON on one line; control characters as `\\u…`, which parse to the same value."""
    return escape_json(json.dumps(to_json_value(value), ensure_ascii=False))


def render_json_row(names: Sequence[str], row: Sequence[object]) -> str:
    """Render a row as a JSON object."""
    return render_json(dict(zip(names, row, strict=True)))


class _Lines:
    """Passes rows on with a line feed at the end: csv.writer calls write() once per row, here ending in both."""

    def __init__(self, file: SupportsWrite[str]) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(f"{row[:-2]}\n")


def write_csv(file: SupportsWrite[str], rows: Iterable[Iterable[object]]) -> None:
    """Write rows of CSV that end in line feeds. A carriage return in a cell is quoted: else it would begin a row."""
    csv.writer(_Lines(file), lineterminator="\r\n").writerows(rows)


def to_cell(value: object) -> object:
    """Convert a value for a cell of CSV: lists and structures as JSON."""
    value = to_json_value(value)
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
