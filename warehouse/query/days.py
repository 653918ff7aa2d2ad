"""Days as users give them."""

from __future__ import annotations

from datetime import date

from warehouse.errors import UsageError


def parse_day(day: date | str) -> date:
    """A day as given by a user (`2020-06-01` or a date); UsageError when it is none."""
    if isinstance(day, date):
        return date(day.year, day.month, day.day)
    try:
        return date.fromisoformat(day.strip())
    except ValueError:
        raise UsageError(f"{day!r} is not a day. Give year-month-day, as in 2020-06-01.") from None
