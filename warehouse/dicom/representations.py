"""The differences between value representations (PS3.5 6.2): padding, multiple values, forms, binary values."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable

#: All value representations of PS3.5 6.2, and the binary ones.
KNOWN = frozenset(
    [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "OB",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "PN",
        "SH",
        "SL",
        "SQ",
        "SS",
        "ST",
        "SV",
        "TM",
        "UC",
        "UI",
        "UL",
        "UN",
        "UR",
        "US",
        "UT",
        "UV",
    ]
)
BINARY = frozenset(["OB", "OD", "OF", "OL", "OV", "OW"])
#: Those in which a backslash is not a separator, and those in which leading spaces are significant.
_ONE_TEXT = frozenset(["LT", "ST", "UT", "UR"])
_LEADING_SPACES_COUNT = frozenset(["LT", "ST", "UT", "UC"])

_DATE = re.compile(r"[0-9]{8}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}")
_TIME = re.compile(
    r"[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?|[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
)
# Unambiguous for each digit: otherwise a million digits that are not a number would be split in a million ways each.
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
# An age that sql/expressions/header_age.sql can read. AS itself is nnnD, nnnW, nnnM or nnnY; check values_not_in_form
# names the others.
_AGE = re.compile(r"[0-9]+(?:\.[0-9]+)? *[DWMYdwmy]?")
_FORMS = {"DATE": _DATE, "TIME": _TIME, "DOUBLE": _DECIMAL, "INTEGER": _WHOLE}


def find_form(column_type: str, vr: str) -> re.Pattern[str] | None:
    """The form that a text must have to be read into a column of this type and VR; None if any text is accepted.

    Dates and times of ACR-NEMA have separators. A UI is only compared: one that does not have the form of PS3.5 still
    shows which images belong together, so it is kept, and check values_not_in_form reports it.
    """
    return _AGE if vr == "AS" else _FORMS.get(column_type.removesuffix("[]"))


#: Character sets without code extensions (PS3.3 C.12.1.1.2) as Python knows them; others are not decoded.
_CHARACTER_SETS = {
    "": "ascii", "ISO_IR 6": "ascii", "ISO_IR 192": "utf-8", "ISO_IR 100": "latin-1", "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3", "ISO_IR 110": "iso8859-4", "ISO_IR 144": "iso8859-5", "ISO_IR 127": "iso8859-6",
    "ISO_IR 126": "iso8859-7", "ISO_IR 138": "iso8859-8", "ISO_IR 148": "iso8859-9", "ISO_IR 166": "tis-620",
    "GB18030": "gb18030", "GBK": "gbk",
}  # fmt: skip

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}


def strip_padding(text: str, vr: str) -> str:
    """Remove the padding of a value: trailing NUL and spaces, and leading spaces if they are not significant."""
    bare = text.rstrip(" \0")
    return bare if vr in _LEADING_SPACES_COUNT else bare.lstrip(" ")


def split_values(text: str, vr: str) -> list[str]:
    """Split a text at backslashes into values, without their padding."""
    return [strip_padding(part, vr) for part in ([text] if vr in _ONE_TEXT else text.split("\\"))]


def decode(encoded: object, vr: str, character_set: str) -> list[str | int | float] | None:
    """Decode the values in the bytes of an InlineBinary: text, or little-endian numbers; None if that fails."""
    if not isinstance(encoded, str):
        return None
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not content:
        return []
    if vr in _NUMBERS:
        return _unpack(content, _NUMBERS[vr], shorten_single if vr == "FL" else lambda number: number)
    if vr == "AT":
        parts = _unpack(content, "HH", lambda number: number) or []
        return [f"{group:04X}{element:04X}" for group, element in zip(parts[::2], parts[1::2], strict=True)] or None
    if vr in BINARY or vr in ("UN", "SQ"):
        return None
    return _decode_text(content, vr, character_set)


def _unpack(content: bytes, code: str, read: Callable[[float], float]) -> list[str | int | float] | None:
    size = struct.calcsize(f"<{code}")
    if len(content) % size:
        return None
    numbers = struct.unpack(f"<{code * (len(content) // size)}", content)
    return [read(number) for number in numbers] if all(map(math.isfinite, numbers)) else None


def shorten_single(number: float) -> float:
    """The shortest decimal that is the same 32-bit number."""
    return next((near for digits in range(6, 9) if _to_single(near := float(f"{number:.{digits}g}")) == number), number)


def _to_single(number: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return math.inf


def _decode_text(content: bytes, vr: str, character_set: str) -> list[str | int | float] | None:
    # Without an escape sequence the sets with code extensions are those without.
    for name in ("utf-8", _CHARACTER_SETS.get(character_set.replace("ISO 2022 IR ", "ISO_IR "))):
        try:
            found = content.decode(name) if name else ""
        except UnicodeDecodeError:
            continue
        # A text may have only the control characters of PS3.5 6.1.3; with others it is not text. The escape among them
        # begins a sequence that changes the character set, which is not decoded.
        if found and not re.search(r"[\x00-\x08\x0b\x0e-\x1f]", found.rstrip("\0")):
            return [*split_values(found, vr)]
    return None
