"""Makes conditions of what a search matches (PS3.4 C.2.2.2): templates of sql/expressions, values bound."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.service.dicomweb.attributes import Attribute, Level

#: What each image has of its own, though it is of the study or series: an image may differ from the first.
_OF_IMAGES = ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "TimezoneOffsetFromUTC", "InstanceAvailability")
_NUMBERS = ("INTEGER", "BIGINT", "DOUBLE")
_MOST_VALUES = 10_000
#: Of a whole number: no attribute has a larger one, and DuckDB takes none.
_LARGEST = 2**63 - 1
_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?")


@dataclass(slots=True)
class Conditions:
    """Conditions that all have to hold, as SQL, and the values that are bound to their parameters."""

    texts: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, column: str, value: object) -> None:
        """Add a condition: the name of its template, a column that is quoted already, and its value."""
        template = sql_files.read_expression("expressions/dicomweb_matching.sql", name)
        number = len(self.values)
        parameter = f"$value{int(number)}"
        self.texts.append(sql_files.fill(template, column=column, low=parameter, high=parameter, values=parameter))
        self.values[f"value{number}"] = value

    def to_sql(self) -> str:
        """All conditions as one."""
        return " and ".join(self.texts) if self.texts else "true"


def quote_column(attribute: Attribute, searched: Level) -> str:
    """The column of an attribute in a search of a level. The series of the index have what is known of their study."""
    of_images = attribute.level == "instance" or (searched == "instance" and attribute.keyword in _OF_IMAGES)
    table = "images" if of_images else "studies" if searched == "study" else "series"
    return f"{sql_files.identifier(table)}.{sql_files.identifier(attribute.column)}"


def build_conditions(matches: Mapping[Attribute, str], searched: Level) -> Conditions:
    """The conditions of what is matched; an empty value matches everything. UsageError for a value of a wrong form."""
    found = Conditions()
    for attribute, value in matches.items():
        if value and value != "*":
            _add(found, attribute, quote_column(attribute, searched), value)
    return found


def _add(found: Conditions, attribute: Attribute, column: str, value: str) -> None:
    is_list = attribute.type.endswith("[]")
    kind = attribute.type.removesuffix("[]")
    if attribute.vr == "UI":
        values = _split(attribute, value)
        if len(values) == 1 and not is_list:
            found.add("one", column, values[0])  # which DuckDB applies as it reads, unlike a list
        else:
            found.add("any of" if is_list else "one of", column, values)
    elif kind in ("DATE", "TIME"):
        low, high = _parse_range(attribute, kind, value)
        if low is not None:
            found.add("from", column, low)
        if high is not None:
            found.add("until", column, high)
    elif kind in _NUMBERS:
        found.add("list number" if is_list else "one", column, _parse_number(attribute, value))
    elif attribute.vr == "CS" and re.search(r"[\\,]", value) and not re.search(r"[*?]", value):
        found.add("any of" if is_list else "one of", column, _split(attribute, value))
    else:
        found.add("list like" if is_list else "like", column, _to_pattern(value, attribute.vr == "PN"))


def _split(attribute: Attribute, value: str) -> list[str]:
    """A list of UIDs (PS3.4 C.2.2.2.2): separated by commas in an address (PS3.18 8.3.4.1), by \\ in DICOM itself."""
    values = [item.strip() for item in re.split(r"[\\,]", value) if item.strip()]
    if len(values) > _MOST_VALUES:
        raise UsageError(f"{attribute.keyword} lists more than {_MOST_VALUES:,} values.")
    return values


def _to_pattern(value: str, is_name: bool) -> str:
    """Wild cards as a regular expression (PS3.4 C.2.2.2.4): `*` is any text, `?` one character. Of the names of persons
    case does not count."""
    parts = {"*": ".*", "?": "."}
    text = "".join(parts.get(char) or re.escape(char) for char in value)
    return f"(?si){text}" if is_name else f"(?s){text}"


def _parse_number(attribute: Attribute, value: str) -> float | int:
    try:
        if attribute.vr in ("DS", "FD", "FL"):
            return float(value)
        number = int(value)
        if abs(number) > _LARGEST:
            raise ValueError
        return number
    except ValueError:
        raise UsageError(f"{attribute.keyword} is a number.") from None


def _parse_range(attribute: Attribute, kind: str, value: str) -> tuple[Any, Any]:
    """The ends of a range (PS3.4 C.2.2.2.5): `A-B`, `A-`, `-B`, or one value; None for an end that is open."""
    low, dash, high = value.partition("-")
    if not dash:
        high = low
    ends = (low.strip(), high.strip())
    parse = _parse_day if kind == "DATE" else _parse_time
    try:
        if dash and not any(ends):
            raise ValueError
        return parse(ends[0], False) if ends[0] else None, parse(ends[1], True) if ends[1] else None
    except ValueError:
        shape = "YYYYMMDD" if kind == "DATE" else "HHMMSS"
        raise UsageError(f"{attribute.keyword} is {shape}, or a range of two with a hyphen between them.") from None


def _parse_day(text: str, is_end: bool) -> date:  # noqa: ARG001
    if len(text) != 8 or not text.isascii():
        raise ValueError
    return datetime.strptime(text, "%Y%m%d").date()


def _parse_time(text: str, is_end: bool) -> time:
    """A time; where digits are left off, the first or the last moment that it may mean."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError
    hour, minute, second, fraction = found.groups()
    rest = "9" if is_end else "0"
    return time(
        int(hour),
        int(minute or ("59" if is_end else "0")),
        min(int(second or ("59" if is_end else "0")), 59),
        int((fraction or "").ljust(6, rest)),
    )
