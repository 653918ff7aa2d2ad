"""Converts values for JSON and for table cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


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
