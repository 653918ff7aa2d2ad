"""Parses days given by users."""

from __future__ import annotations

from datetime import date

from warehouse.errors import UsageError


def parse_day(day: date | str) -> date:
    """Parse a day given by a user (`2020-06-01` or a date); UsageError if it is not valid."""
    if isinstance(day, date):
        return date(day.year, day.month, day.day)
    try:
        return date.fromisoformat(day.strip())
    except ValueError:
        raise UsageError(f"{day!r} is not a day. Give year-month-day, for example 2020-06-01.") from None
