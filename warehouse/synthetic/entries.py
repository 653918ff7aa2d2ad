"""A value as a centre writes it, beside what it means; and the ways of writing a date.

Every slip is written down where it is made: an `Entry` holds the value sent, the clean value that the reference
asks for, and the names of the rules (sql/cleaning/rules.csv) that a cleaner owes for it. Nothing here reads a
value back: what an entry means is known before it is written.
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
    """A value as sent, what it means (None: nothing usable), the rules owed for it, and the unit of what it means."""

    sent: object
    clean: object = None
    rules: tuple[str, ...] = ()
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class RecordWriter:
    """Whoever fills in the records of one patient; `tidy` makes no slips and leaves nothing blank."""

    rng: random.Random
    habits: Habits
    tidy: bool = False

    def slips(self, share: float) -> bool:
        """Say whether something that happens to a share of the entries happens to this one."""
        return not self.tidy and self.rng.random() < share

    def write(self, value: T, plain: Callable[[RecordWriter, T], Entry], slips: Slips[T]) -> Entry:
        """Write a value in its plain form or, by their shares, with one of the slips."""
        if not self.tidy:
            roll = self.rng.random()
            for share, slip in slips:
                if roll < share:
                    return slip(self, value)
                roll -= share
        return plain(self, value)


Slips = Sequence[tuple[float, Callable[[RecordWriter, T], Entry]]]
"""Ways of writing that are not the plain one, each with its share of all entries."""


def write_blank(pen: RecordWriter, _: object = None) -> Entry:
    """Nothing, in one of the ways to say so; no rule is owed for it."""
    return Entry(pen.rng.choice((" ", " ", "", None)))


def write_no_value(pen: RecordWriter, value: object) -> Entry:
    """An object or a list where a single value is expected."""
    return Entry(pen.rng.choice(({"value": str(value)}, [str(value)])), None, ("wrong_type",))


def to_entry_known_on(entry: Entry, day: date) -> Entry:
    """The entry as a file of `day` has it: a date from before 1900 or after the next day is none there."""
    if isinstance(entry.clean, date) and not date(1900, 1, 1) <= entry.clean <= day + timedelta(days=1):
        return entry._replace(clean=None, rules=("date_outside_window",))
    return entry


# ---- dates ----


def write_us_date(pen: RecordWriter, day: date) -> Entry:
    """A date of a data record: month first, in the centre's way, seldom in another."""
    return pen.write(day, _write_month_first, _SLIPS_US)


def write_uk_date(pen: RecordWriter, day: date) -> Entry:
    """A date of a status record: day first."""
    return pen.write(day, _write_day_first, _SLIPS_UK)


def write_date_on_ward(_: RecordWriter, day: date) -> Entry:
    """A date with the ward before it."""
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
    """A date not in its field's order: repaired where the day cannot be a month, else nobody can tell."""
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
    """Next year's date: a slip in January, and in the future of most files that hold it."""
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
