"""Converts the elements of a DICOM file, as pydicom has read them, to DICOM JSON in normal form (normal_form.py)."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING, Any, NamedTuple

from warehouse.catalog import dicom_dictionary
from warehouse.dicom import representations
from warehouse.errors import UnreadableError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Longer binary values are left out: what they hold (palettes, waveforms, private blobs) is in the file.
MAX_BINARY = 1024
#: So are more values than this, each of which would be an object of Python: no column has such a list.
MAX_VALUES = 65_536

_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_PATIENT_ID, _REPRESENTATION = 0x00100020, 0x00280103
_UNDEFINED = 0xFFFFFFFF
_BINARY = representations.BINARY | {"UN"}
#: Those that SpecificCharacterSet applies to, besides PN (PS3.5 6.1.2.3).
_ENCODED = frozenset(["LO", "LT", "SH", "ST", "UC", "UT"])
#: Those whose value may have to be decoded.
_TEXTS = _ENCODED | {"PN"}
#: The most bytes of a value that is converted once for all files that have it.
_SHORT = 64
#: The most bytes of a sequence that is converted so.
_MODERATE = 2048
_ONE_TEXT = frozenset(["LT", "ST", "UT", "UR"])
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Converted(NamedTuple):
    """A data set as DICOM JSON, and its PatientID ("" if it has none)."""

    text: str
    patient_id: str


def convert_dataset(dataset: Dataset, depth: int) -> Converted:
    """Convert a data set whose sequences are nested at most `depth` deep; UnreadableError for one that is cut short."""
    if depth < 0:
        raise UnreadableError("sequences nested too deeply")
    encodings = dataset.original_character_set or []
    encodings = [encodings] if isinstance(encodings, str) else encodings
    items: dict[int, Any] = {int(tag): item for tag, item in dataset.items()}
    is_signed = _REPRESENTATION in items and items[_REPRESENTATION].value in (b"\1\0", b"\0\1", 1)
    parts: list[str] = []
    for tag in sorted(items):
        # Not group lengths, commands, file meta information and padding.
        if tag & 0xFFFF and tag >> 16 not in (0, 2) and tag != 0xFFFCFFFC:
            parts.append(_convert_element(dataset, tag, items[tag], encodings, is_signed, depth))
    return Converted("{" + ",".join(parts) + "}", _read_patient_id(items.get(_PATIENT_ID), encodings))


def _convert_element(
    dataset: Dataset, tag: int, item: Any, encodings: Sequence[str], is_signed: bool, depth: int
) -> str:
    """An element as a member of a JSON object."""
    if isinstance(item, tuple):  # as it was read; pydicom has converted no other
        _, stated, length, value, _, is_implicit, is_little_endian = item[:7]
        value = value or b""
        if length not in (len(value), _UNDEFINED):
            raise UnreadableError("truncated: the file ends within its header")
        if len(value) <= _SHORT:
            if text := _convert_short(tag, stated, value, is_signed, is_little_endian):
                return text
        elif tag not in _PIXEL_TAGS:
            vr = find_vr(tag, stated, is_signed)
            if vr == "SQ" and stated != "UN":
                convert = _convert_sequence if len(value) <= _MODERATE else _convert_sequence.__wrapped__
                return f'"{tag:08X}":{convert(tag, value, is_implicit, is_little_endian, tuple(encodings), depth)}'
            if _is_known(tag, vr):
                return f'"{tag:08X}":{_convert_bytes(dataset, tag, vr, value, encodings, is_little_endian)}'
    return f'"{tag:08X}":{_convert_other(dataset, tag, item, encodings, is_signed, depth)}'


@lru_cache(maxsize=16_384)
def _convert_short(tag: int, stated: str | None, value: bytes, is_signed: bool, is_little_endian: bool) -> str:
    """A member of a JSON object for a value that needs nothing else of its data set; "" for another.

    Images of a series have most of them in common.
    """
    vr = find_vr(tag, stated, is_signed)
    is_plain = vr not in _TEXTS or (value.isascii() and b"\x1b" not in value)
    if tag in _PIXEL_TAGS or not _is_known(tag, vr) or not is_plain:
        return ""
    return f'"{tag:08X}":{_convert_bytes(None, tag, vr, value, (), is_little_endian)}'


def _is_known(tag: int, vr: str) -> bool:
    """Whether the value is converted here. Of a private element of unknown VR pydicom may know what it is."""
    return vr != "SQ" and (vr != "UN" or not tag >> 16 & 1)


def _convert_other(dataset: Dataset, tag: int, item: Any, encodings: Sequence[str], is_signed: bool, depth: int) -> str:
    if tag in _PIXEL_TAGS:
        return _leave_out("OW", tag)
    value = item.value
    if value is None or isinstance(value, bytes):
        vr = find_vr(tag, item.VR, is_signed)
        if _is_known(tag, vr):
            is_little_endian = getattr(item, "is_little_endian", True)
            return _convert_bytes(dataset, tag, vr, value or b"", encodings, is_little_endian)
    return _convert_by_pydicom(dataset, tag, item, encodings, depth)


@lru_cache(maxsize=1024)
def _convert_sequence(
    tag: int, value: bytes, is_implicit: bool, is_little_endian: bool, encodings: tuple[str, ...], depth: int
) -> str:
    """A sequence; those of images of a series are often the same."""
    from pydicom import values

    try:
        items = values.convert_SQ(value, is_implicit, is_little_endian, [*encodings])
    except Exception:  # whatever pydicom may meet in a damaged sequence
        return _convert_binary("UN", tag, value)
    return _convert_items(items, depth)


def _convert_items(items: Any, depth: int) -> str:
    found = ",".join(convert_dataset(one, depth - 1).text for one in items or [])
    return f'{{"vr":"SQ","Value":[{found}]}}' if found else '{"vr":"SQ"}'


@cache
def find_vr(tag: int, stated: str | None, is_signed: bool) -> str:
    """The VR of an element: the stated one; if there is none, or UN, that of the dictionary (PS3.5 6.2.2)."""
    if stated in representations.KNOWN and stated != "UN":
        return str(stated)
    known = dicom_dictionary.find_vr(f"{tag:08X}")
    if known.startswith("US or SS"):
        return "SS" if is_signed else "US"
    return {"OB or OW": "OW", "US or OW": "OW"}.get(known, known)


def _convert_binary(vr: str, tag: int, value: object) -> str:
    if not value:
        return f'{{"vr":"{vr}"}}'
    if not isinstance(value, bytes) or len(value) > MAX_BINARY:
        return _leave_out(vr, tag)
    return f'{{"vr":"{vr}","InlineBinary":"{base64.b64encode(value).decode()}"}}'


def _leave_out(vr: str, tag: int) -> str:
    """An attribute whose value is in the file alone."""
    return f'{{"vr":"{vr}","BulkDataURI":"#{tag:08X}"}}'


def _convert_bytes(
    dataset: Dataset | None, tag: int, vr: str, value: bytes, encodings: Sequence[str], is_little_endian: bool
) -> str:
    if vr in _BINARY:
        return _convert_binary(vr, tag, value)
    if _has_many(vr, value):
        return _leave_out(vr, tag)
    if vr in _NUMBERS:
        values = _convert_numbers(vr, value, is_little_endian)
    elif vr == "AT":
        values = _convert_tags(value, is_little_endian)
    elif vr in ("DS", "IS"):
        values = [
            part if _JSON_NUMBER.fullmatch(part) else quote(part)
            for part in representations.split_values(value.decode("latin-1"), vr)
        ]
    elif vr == "PN":
        values = _convert_names(dataset, tag, value)
    else:
        text = _decode(value, vr, encodings)
        if not _ONE_TEXT & {vr} and "\\" in text:
            values = [quote(part) for part in representations.split_values(text, vr)]
        else:
            values = [quote(representations.strip_padding(text, vr))]
    if values is None:
        return _convert_binary(vr, tag, value)
    if not values or values in (['""'], ['{"Alphabetic":""}']):
        return f'{{"vr":"{vr}"}}'
    return f'{{"vr":"{vr}","Value":[{",".join(values)}]}}'


def _has_many(vr: str, value: bytes) -> bool:
    """Whether a value has more than MAX_VALUES parts."""
    if len(value) <= MAX_VALUES or vr in _ONE_TEXT:
        return False
    code = "I" if vr == "AT" else _NUMBERS.get(vr)
    n_values = len(value) // struct.calcsize(f"<{code}") if code else value.count(b"\\") + 1
    return n_values > MAX_VALUES


def _convert_numbers(vr: str, value: bytes, is_little_endian: bool) -> list[str] | None:
    """The numbers of a value; None if its length is not theirs."""
    code = _NUMBERS[vr]
    size = struct.calcsize(f"<{code}")
    if len(value) % size:
        return None
    found = struct.unpack(f"{'<' if is_little_endian else '>'}{len(value) // size}{code}", value)
    if code not in "fd":
        return [str(number) for number in found]
    shown: Callable[[float], float] = representations.shorten_single if code == "f" else float
    return [repr(shown(number)) if math.isfinite(number) else quote(str(number)) for number in found]


def _convert_tags(value: bytes, is_little_endian: bool) -> list[str] | None:
    if len(value) % 4:
        return None
    parts = struct.unpack(f"{'<' if is_little_endian else '>'}{len(value) // 2}H", value)
    return [f'"{group:04X}{element:04X}"' for group, element in zip(parts[::2], parts[1::2], strict=True)]


def _decode(value: bytes, vr: str, encodings: Sequence[str]) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    if vr not in _ENCODED:
        return value.decode("latin-1")
    from pydicom import charset

    return charset.decode_bytes(value, [*encodings] or ["latin-1"], set() if vr in _ONE_TEXT else {0x5C})


def _convert_names(dataset: Dataset | None, tag: int, value: bytes) -> list[str]:
    """Names as objects of their forms (PS3.5 6.2.1)."""
    if value.isascii() and b"\x1b" not in value:
        texts = [part.split("=", 2) for part in value.decode("ascii").split("\\")]
    else:
        assert dataset is not None
        found = dataset[tag].value
        names = found if hasattr(found, "append") else [found]
        texts = [[name.alphabetic, name.ideographic, name.phonetic] for name in names]
    return [_convert_name([part.strip(" \0") for part in forms]) for forms in texts]


def _convert_name(forms: list[str]) -> str:
    others = zip(("Ideographic", "Phonetic"), forms[1:], strict=False)
    rest = "".join(f',"{name}":{quote(part)}' for name, part in others if part)
    return f'{{"Alphabetic":{quote(forms[0])}{rest}}}'


def _convert_by_pydicom(dataset: Dataset, tag: int, item: Any, encodings: Sequence[str], depth: int) -> str:
    """Convert a sequence, a private element of unknown VR, of which pydicom knows some, or what it has converted."""
    raw = item.value if isinstance(item.value, bytes) else b""
    if item.VR != "SQ" and _has_many("UN", raw):
        return _convert_binary("UN", tag, raw)
    try:
        element = dataset[tag]
        vr = str(element.VR)
        if vr != "SQ" and not raw:
            return json.dumps(element.to_json_dict(None, 0), ensure_ascii=False, allow_nan=False)
    except Exception:  # whatever pydicom may meet in an invalid value
        return _convert_binary("UN", tag, raw)
    if vr == "SQ":
        return _convert_items(element.value, depth)
    known = vr if vr in representations.KNOWN else "UN"
    return _convert_bytes(dataset, tag, known, raw, encodings, getattr(item, "is_little_endian", True))


def _read_patient_id(item: Any, encodings: Sequence[str]) -> str:
    value = item.value if item is not None else b""
    return representations.strip_padding(
        _decode(value, "LO", encodings) if isinstance(value, bytes) else str(value or ""), "LO"
    )
