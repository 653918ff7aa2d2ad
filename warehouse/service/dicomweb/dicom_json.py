"""Writes values as the DICOM JSON model does (PS3.18 F): an attribute as its VR and a list of values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, time
from typing import Any

from warehouse.service.dicomweb import headers
from warehouse.service.dicomweb.attributes import Attribute


def choose_writer(attribute: Attribute) -> Callable[[Any], dict[str, Any]]:
    """What writes values of an attribute; without a value there is only its VR (PS3.18 F.2.5)."""
    vr = attribute.vr
    if attribute.type == "JSON":
        return lambda text: _read_sequence(text, attribute)
    convert = _find_conversion(attribute)
    if convert is None:  # most of them
        return lambda value: {"vr": vr} if value is None else {"vr": vr, "Value": [value]}

    def write(value: Any) -> dict[str, Any]:
        if value is None or value == []:
            return {"vr": vr}
        return {"vr": vr, "Value": [convert(item) for item in (value if isinstance(value, list) else [value])]}

    return write


def _find_conversion(attribute: Attribute) -> Callable[[Any], Any] | None:
    kind = attribute.type.removesuffix("[]")
    if attribute.vr == "PN":
        return lambda name: {"Alphabetic": name}
    if kind in _CONVERSIONS:
        return _CONVERSIONS[kind]
    return (lambda value: value) if attribute.type.endswith("[]") else None


def _write_date(day: date | str) -> str:
    if isinstance(day, str):  # of the year 0, which Python's dates have not: 0001-03-01 (BC)
        return f"0000{day[5:7]}{day[8:10]}"
    return f"{day.year:04d}{day.month:02d}{day.day:02d}"


def _write_time(moment: time | str) -> str:
    if isinstance(moment, str):  # 24:00:00, the end of a day
        return moment.replace(":", "")
    seconds = f"{moment.hour:02d}{moment.minute:02d}{moment.second:02d}"
    return f"{seconds}.{moment.microsecond:06d}" if moment.microsecond else seconds


def _write_number(number: float) -> float | None:
    """JSON has no infinity."""
    return number if number is not None and math.isfinite(number) else None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"DATE": _write_date, "TIME": _write_time, "DOUBLE": _write_number}


def _read_sequence(text: str | None, attribute: Attribute) -> dict[str, Any]:
    """A sequence as its header has it: an attribute, or the list of its items."""
    found = json.loads(text) if text else None
    if isinstance(found, list):
        found = {"vr": attribute.vr, "Value": found}
    if not isinstance(found, dict) or not found.get("Value"):
        return {"vr": attribute.vr}
    (written,) = headers.rewrite_items({attribute.tag: found}, "").values()
    return dict(written)
