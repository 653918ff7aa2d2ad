"""Writes values as the DICOM JSON model does (PS3.18 F): an attribute as its VR and a list of values."""

from __future__ import annotations

import json
import math
from datetime import date, time
from typing import Any

from warehouse.service.dicomweb.attributes import Attribute

_BINARY_FLOATS = ("DS", "FD", "FL")


def write_attribute(attribute: Attribute, value: Any) -> dict[str, Any]:
    """An attribute of a column's value; without a value, only its VR (PS3.18 F.2.5)."""
    if value is None or value == []:
        return {"vr": attribute.vr}
    if attribute.type == "JSON":
        return _read_sequence(value, attribute.vr)
    values = value if isinstance(value, list) else [value]
    return {"vr": attribute.vr, "Value": [_write_value(attribute.vr, item) for item in values]}


def write_text(vr: str, text: str) -> dict[str, Any]:
    """An attribute of one text."""
    return {"vr": vr, "Value": [text]}


def _write_value(vr: str, value: Any) -> Any:
    if vr == "PN":
        return {"Alphabetic": value}
    if isinstance(value, date):
        return f"{value:%Y%m%d}"
    if isinstance(value, time):
        return f"{value:%H%M%S}" + (f".{value.microsecond:06d}" if value.microsecond else "")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, float) and value.is_integer() and vr not in _BINARY_FLOATS:
        return int(value)
    return value


def _read_sequence(text: str, vr: str) -> dict[str, Any]:
    """A sequence as its header has it: an attribute, or the list of its items."""
    found = json.loads(text)
    if isinstance(found, dict) and "vr" in found:
        return found
    return {"vr": vr, "Value": found} if found else {"vr": vr}
