"""Values as centres write them, with their meaning; and the ways of writing a date.

Every error is recorded where it is made: an `Entry` has the submitted value, the clean value that the reference
requires, and the rules (sql/cleaning/rules.csv) that cleaning must report. Nothing here parses a value: the meaning of
an entry is known before it is written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple, TypeVar

from warehouse.synthetic.patients import Habits

T = TypeVar("T")


class Entry(NamedTuple):
    """A submitted value, its meaning (None if not usable), the rules expected for it, and the unit of the meaning."""

    sent: object
    clean: object = None
    rules: tuple[str, ...] = ()
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class RecordWriter:
    """The person who writes the records of a patient; if `tidy`, without errors and blanks."""

    rng: random.Random
    habits: Habits
    tidy: bool = False

    def slips(self, share: float) -> bool:
        """Draw whether an event with this probability happens to this entry."""
        return not self.tidy and self.rng.random() < share

    def write(self, value: T, plain: Callable[[RecordWriter, T], Entry], slips: Slips[T]) -> Entry:
        """Write a value in its plain form or, by their probabilities, with one of the errors."""
        if not self.tidy:
            roll = self.rng.random()
            for share, slip in slips:
                if roll < share:
                    return slip(self, value)
                roll -= share
        return plain(self, value)


Slips = Sequence[tuple[float, Callable[[RecordWriter, T], Entry]]]
"""Other ways of writing than the plain one, each with its share of all entries."""


def write_blank(pen: RecordWriter, _: object = None) -> Entry:
    """Write a blank in one of its forms; no rule is expected for it."""
    return Entry(pen.rng.choice((" ", " ", "", None)))


def write_no_value(pen: RecordWriter, value: object) -> Entry:
    """Write an object or a list in place of a single value."""
    return Entry(pen.rng.choice(({"value": str(value)}, [str(value)])), None, ("wrong_type",))


def to_entry_known_on(entry: Entry, day: date) -> Entry:
    """The entry in a file of `day`: a date before 1900 or after the next day is invalid there."""
    if isinstance(entry.clean, date) and not date(1900, 1, 1) <= entry.clean <= day + timedelta(days=1):
        return entry._replace(clean=None, rules=("date_outside_window",))
    return entry


# ---- dates ----


def write_us_date(pen: RecordWriter, day: date) -> Entry:
    """Write a date of a data record: month first, in the centre's format, rarely in another."""
    return pen.write(day, _write_month_first, _SLIPS_US)


def write_uk_date(pen: RecordWriter, day: date) -> Entry:
    """Write a date of a status record: day first."""
    return pen.write(day, _write_day_first, _SLIPS_UK)


def write_date_on_ward(_: RecordWriter, day: date) -> Entry:
    """Write a date after the ward."""
    return Entry(f"[Ward] - {day.isoformat()}", day, ("date_embedded",))


def _write_month_first(pen: RecordWriter, day: date) -> Entry:
    year = day.year % 100 if pen.habits.short_year else day.year
    return Entry(f"{day.month}/{day.day}/{year}" if pen.habits.bare_day else f"{day:%m/%d}/{year}", day)


def _write_day_first(_: RecordWriter, day: date) -> Entry:
    return Entry(f"{day:%d/%m/%Y}", day)


def _write_iso(pen: RecordWriter, day: date) -> Entry:
    return Entry(day.isoformat() if pen.rng.random() < 0.8 else f"{day:%Y/%m/%d}", day)


def _write_with_time(pen: RecordWriter, day: date) -> Entry:
    ways = (f"{day.isoformat()}T00:00:00", f"{day.isoformat()} 09:15:00", f"{day:%Y/%m/%d} 17:05")
    return Entry(pen.rng.choice(ways), day, ("date_time_dropped",))


def _write_serial(pen: RecordWriter, day: date) -> Entry:
    number = (day - date(1899, 12, 30)).days  # a spreadsheet's day number
    return Entry(number if pen.rng.random() < 0.5 else str(number), day, ("date_serial",))


def _write_in_text(pen: RecordWriter, day: date) -> Entry:
    word = pen.rng.choice(("TEXT", "Positive", "A&E", "see letter"))
    return Entry(f"[{word}] - {day.isoformat()}", day, ("date_embedded",))


def _slip_day_first(pen: RecordWriter, day: date) -> Entry:
    return _to_swapped_date(pen.rng.choice((f"{day:%d/%m/%Y}", f"{day:%d-%m-%Y}", f"{day:%d.%m.%y}")), day)


def _slip_month_first(pen: RecordWriter, day: date) -> Entry:
    return _to_swapped_date(pen.rng.choice((f"{day:%m/%d/%Y}", f"{day:%m-%d-%y}")), day)


def _to_swapped_date(text: str, day: date) -> Entry:
    """A date not in its field's order: repaired if the day cannot be a month, otherwise undetectable."""
    if day.day > 12:
        return Entry(text, day, ("date_other_order",))
    return Entry(text, date(day.year, day.day, day.month))


def _write_impossible_date(pen: RecordWriter, _: date) -> Entry:
    ways = ("13/13/2020", "02/30/2020", "31/02/2020", "2020-02-30", "[Text] - 2020-13-45", "00/00/2020")
    return Entry(pen.rng.choice(ways), None, ("impossible_date",))


def _write_no_date(pen: RecordWriter, _: date) -> Entry:
    ways = ("n/a", "not done", "pending", ".", "unknown", "see notes", 7, "2020", "44950.5")
    return Entry(pen.rng.choice(ways), None, ("not_a_date",))


def _write_next_year(_: RecordWriter, day: date) -> Entry:
    """Next year's date: an error typical of January, and in the future of most files that have it."""
    later = date(day.year + 1, day.month, min(day.day, 28))
    return Entry(later.isoformat(), later)


def _write_previous_century(_: RecordWriter, day: date) -> Entry:
    return Entry(f"18{day:%y-%m}-14", date(1800 + day.year % 100, day.month, 14))


_SLIPS_US: Slips[date] = (
    (0.04, _write_iso),
    (0.012, _slip_day_first),
    (0.008, _write_serial),
    (0.008, _write_with_time),
    (0.006, _write_in_text),
    (0.012, write_blank),
    (0.012, _write_no_date),
    (0.005, _write_impossible_date),
    (0.004, _write_next_year),
    (0.0015, _write_previous_century),
    (0.0015, write_no_value),
)
_SLIPS_UK: Slips[date] = (
    (0.02, _write_iso),
    (0.012, _slip_month_first),
    (0.008, _write_serial),
    (0.006, _write_with_time),
    (0.012, write_blank),
    (0.01, _write_no_date),
    (0.004, _write_impossible_date),
    (0.003, _write_next_year),
    (0.001, write_no_value),
)
