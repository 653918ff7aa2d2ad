"""Writes DICOM files from headers in DICOM JSON (PS3.5, explicit little endian); shared elements are encoded once.

pydicom would do, but takes milliseconds for a header, of which a large bucket has hundreds of thousands; the tests
read every file back with it.
"""

from __future__ import annotations

import base64
import random
import struct
from typing import Any

from warehouse.synthetic import frames
from warehouse.synthetic.headers import Header, load_catalogue

_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT"))
"""Value representations whose length takes four bytes (PS3.5, 7.1.2)."""
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}

_shared: dict[int, bytes] = {}
"""The bytes of the elements of the templates, by identity: templates live as long as the program."""


def dicom_file(header: Header, *, is_hazy: bool) -> bytes:
    """The file of an image: all attributes of its header, and pixels in one of three transfer syntaxes."""
    modality, rows, columns = (header[tag]["Value"][0] for tag in ("00080060", "00280010", "00280011"))
    rng = random.Random(header["0020000E"]["Value"][0])
    syntax = rng.choices((frames.EXPLICIT, frames.RLE, frames.JPEG_2000), (70, 15, 15))[0]
    variant = int(header["00200013"]["Value"][0]) % frames.VARIANTS
    if syntax == frames.JPEG_2000 and modality != "CT":
        syntax = frames.RLE
    pixels = frames.pixel_data(syntax, modality, rows, columns, variant, is_hazy=is_hazy)
    return _preamble(header, syntax) + encode(header, _shared_elements()) + pixels


def encode(header: Header, shared: dict[int, bytes]) -> bytes:
    """The elements of a data set in the order of their tags; `shared` has those that are encoded already."""
    parts = []
    for tag in sorted(header):
        element = header[tag]
        if element is not None:  # a null is not an element; some gateways write it
            parts.append(shared.get(id(element)) or _encode_element(tag, element))
    return b"".join(parts)


def _shared_elements() -> dict[int, bytes]:
    if not _shared:
        for template in load_catalogue()["templates"].values():
            for tag, element in template.items():
                if element is not None:
                    _shared[id(element)] = _encode_element(tag, element)
    return _shared


def _encode_element(tag: str, element: dict[str, Any]) -> bytes:
    vr: str = element["vr"]
    value = _encode_value(vr, element)
    value += b"" if len(value) % 2 == 0 else b"\0" if vr in ("UI", "OB") else b" "
    start = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) + vr.encode()
    return start + (struct.pack("<HI", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))) + value


def _encode_value(vr: str, element: dict[str, Any]) -> bytes:
    if "InlineBinary" in element:
        found: bytes = base64.b64decode(element["InlineBinary"] or "")
        return found
    values = element.get("Value", [])
    if vr == "SQ":
        items = (encode(item, {}) for item in values)
        return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item for item in items)
    if vr in _BINARY:
        return struct.pack(f"<{len(values)}{_BINARY[vr]}", *values)
    if vr == "PN":
        values = [value["Alphabetic"] for value in values]
    return "\\".join("" if value is None else str(value) for value in values).encode("latin-1")


def _preamble(header: Header, syntax: str) -> bytes:
    meta = {
        "00020001": {"vr": "OB", "InlineBinary": "AAE="},
        "00020002": {"vr": "UI", "Value": header["00080016"]["Value"]},
        "00020003": {"vr": "UI", "Value": header["00080018"]["Value"]},
        "00020010": {"vr": "UI", "Value": [syntax]},
        "00020012": {"vr": "UI", "Value": ["2.25.206041783174206551927309187329814726190"]},
    }
    group = encode(meta, {})
    length = _encode_element("00020000", {"vr": "UL", "Value": [len(group)]})
    return bytes(128) + b"DICM" + length + group
