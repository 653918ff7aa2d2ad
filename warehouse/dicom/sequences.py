"""Decodes a sequence from bytes into items of DICOM JSON, whose values are still bytes.

A sequence of unknown VR is in implicit VR little endian, whatever the encoding of the header (PS3.5 6.2.2). pydicom can
read it too, but accepts truncated values.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any

_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF


def decode(encoded: object) -> list[dict[str, Any]] | None:
    """Decode an InlineBinary that is completely a sequence (PS3.5 7.5); None if it is not."""
    try:
        content = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
        return _read_items(content, 0, len(content))[0] if content else None
    except (binascii.Error, ValueError, struct.error, RecursionError):
        return None


def _read_items(content: bytes, place: int, end: int | None) -> tuple[list[dict[str, Any]], int]:
    """Read the items up to `end`, or to the delimiter if the length is undefined; returns the offset after them too."""
    items: list[dict[str, Any]] = []
    while place != end:
        tag, length, place = _read_start(content, place)
        if tag == _END_OF_SEQUENCE and end is None:
            break
        if tag != _ITEM:
            raise ValueError("not an item")
        item, place = _read_item(content, place, None if length == _UNDEFINED else place + length)
        items.append(item)
    return items, place


def _read_item(content: bytes, place: int, end: int | None) -> tuple[dict[str, Any], int]:
    item: dict[str, Any] = {}
    while place != end:
        tag, length, place = _read_start(content, place)
        if tag == _END_OF_ITEM and end is None:
            break
        name = f"{tag:08X}"
        if name.startswith("FFFE") or name in item:
            raise ValueError("not an attribute, or there twice")
        if length == _UNDEFINED:
            inner, place = _read_items(content, place, None)
            item[name] = {"vr": "SQ", "Value": inner}
        else:
            value, place = content[place : place + length], place + length
            if place > min(len(content), end if end is not None else place):
                raise ValueError("cut short")
            item[name] = {"InlineBinary": base64.b64encode(value).decode()}
    return item, place


def _read_start(content: bytes, place: int) -> tuple[int, int, int]:
    """Read a tag and a length; also returns the offset of the value."""
    group, element, length = struct.unpack_from("<HHI", content, place)
    return group << 16 | element, length, place + 8
