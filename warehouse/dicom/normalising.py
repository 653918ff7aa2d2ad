"""Converts a header from any variant of DICOM JSON (PS3.18 F) to normal form (normal_form.py).

Nothing is dropped: members outside the model, and values that cannot be decoded, stay where they are. A NUL that is no
padding becomes U+FFFD, because it cannot be stored (engine/placeholders.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from warehouse.catalog import columns, dicom_dictionary
from warehouse.dicom import representations, sequences
from warehouse.dicom.normal_form import MAX_DEPTH
from warehouse.engine.placeholders import NUL, REPLACEMENT
from warehouse.errors import UnreadableError

#: The most characters of a header that is not in normal form; real ones have some thousands.
MAX_CHARACTERS = 4_000_000

#: A tag as DICOM JSON writes it, and as DICOM itself and programs do: (0008,0060), 0008,0060, 0x00080060.
_TAG = re.compile(r"[ \0]*\(?(?:0[xX])?([0-9A-Fa-f]{4})(?:, ?)?([0-9A-Fa-f]{4})\)?[ \0]*")
_MEMBERS = {name.lower(): name for name in ("vr", "Value", "InlineBinary", "BulkDataURI")}
_PARTS = ("Alphabetic", "Ideographic", "Phonetic")
_PART_NAMES = {name.lower(): name for name in _PARTS}


class Number(str):
    """A JSON number in its original notation."""

    __slots__ = ()


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its members, duplicates included."""

    __slots__ = ()


class Reading(NamedTuple):
    """A header in normal form, and the part that its columns are read from: values that do not have the form of their
    column are null in it."""

    text: str
    typed: str


def normalise(text: str) -> Reading:
    """Normalise a header; UnreadableError if it is not a header, json.JSONDecodeError if it is not JSON."""
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError(f"not in the usual form of DICOM JSON, and longer than {MAX_CHARACTERS:,} characters")
    try:
        value = json.loads(text, object_pairs_hook=_Pairs, parse_float=Number, parse_int=Number, parse_constant=str)
        if not isinstance(value, _Pairs):
            raise UnreadableError(f"a JSON {'list' if isinstance(value, list) else 'value'} instead of an object")
        if not any(_TAG.fullmatch(key) for key, _ in value):
            raise UnreadableError("a JSON object, but not a DICOM header: it has no DICOM tag of its own")
        data_set = _Reader(value).read_data_set(value)
        reading = Reading(_dump(data_set), _dump(dict(_select_typed(data_set))))
        reading.text.encode()
    except RecursionError:
        raise UnreadableError("not JSON that can be read: nested too deeply") from None
    except UnicodeEncodeError:
        raise UnreadableError("not JSON that can be read: half of a surrogate pair in a text") from None
    return reading


@dataclass(slots=True)
class _Reader:
    """Reads a data set and nested ones; the character set and sign of the outer one apply to all."""

    top: _Pairs
    character_set: str = field(init=False)
    is_signed: bool = field(init=False)

    def __post_init__(self) -> None:
        top = {_find_tag(key): value for key, value in self.top}
        self.character_set = _read_first(top.get("00080005"))
        self.is_signed = _read_first(top.get("00280103")) == "1"

    def read_data_set(self, pairs: _Pairs, depth: int = 0) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise UnreadableError(f"sequences nested more than {MAX_DEPTH} deep")
        found: dict[str, Any] = {}
        for key, value in pairs:
            tag = _find_tag(key)
            name, is_tag = tag or key, tag is not None
            read = self.read_attribute(tag, value, depth) if tag else value
            if name in found and found[name] != read:
                shown = f"the attribute {name}" if is_tag else "a member that is not a DICOM tag"
                raise UnreadableError(f"{shown} is there twice, with different values")
            found[name] = read
        return found

    def read_attribute(self, tag: str, value: Any, depth: int) -> dict[str, Any] | None:
        if value is None:
            return None
        members = _rename_members(value)
        vr = self.find_vr(tag, members.pop("vr", None))
        values = members.pop("Value", None)
        items = values if isinstance(values, list) and not isinstance(values, _Pairs) else [values]
        if any(isinstance(item, _Pairs) and any(_TAG.fullmatch(key) for key, _ in item) for item in items):
            vr = "SQ"
        read = self.read_items(items, vr, depth)
        if not read and "InlineBinary" in members:
            decoded = self.decode_inline(members["InlineBinary"], vr)
            if decoded is not None:
                del members["InlineBinary"]
                read = self.read_items(decoded, vr, depth)
        return {"vr": vr, **({"Value": read} if read else {}), **members}

    def find_vr(self, tag: str, sent: object) -> str:
        """The submitted VR; if it is missing or UN, that of the dictionary (PS3.5 6.2.2)."""
        if isinstance(sent, str) and (stated := sent.strip(" \0").upper()) in representations.KNOWN - {"UN"}:
            return stated
        known = dicom_dictionary.find_vr(tag)
        if known.startswith("US or SS"):
            return "SS" if self.is_signed else "US"
        return {"OB or OW": "OW", "US or OW": "OW"}.get(known, known)

    def decode_inline(self, encoded: object, vr: str) -> list[Any] | None:
        """Decode the values of an InlineBinary; None if that fails."""
        if vr == "SQ":
            items = sequences.decode(encoded)
            return None if items is None else [_keep_pairs(item) for item in items]
        values = representations.decode(encoded, vr, self.character_set)
        return None if values is None else [item if isinstance(item, str) else Number(item) for item in values]

    def read_items(self, items: Iterable[Any], vr: str, depth: int) -> list[Any]:
        read: list[Any] = []
        for item in items:
            if vr == "SQ":
                read.append(self.read_data_set(item, depth + 1) if isinstance(item, _Pairs) else item)
            elif isinstance(item, list) and not isinstance(item, _Pairs):
                read.extend(self.read_items(item, vr, depth))
            elif vr == "PN":
                read.extend(_read_names(item))
            elif item is None:
                read.append("")
            elif isinstance(item, str) and not isinstance(item, Number) and vr != "UN":
                read.extend(representations.split_values(item, vr))
            else:
                read.append(item)
        # A single empty value counts as none.
        return [] if len(read) == 1 and read[0] in ("", None, {"Alphabetic": ""}) else read


def _keep_pairs(value: Any) -> Any:
    """Convert dictionaries to the objects that the parser returns."""
    if isinstance(value, dict):
        return _Pairs((key, _keep_pairs(member)) for key, member in value.items())
    return [*map(_keep_pairs, value)] if isinstance(value, list) else value


def _find_tag(key: str) -> str | None:
    """The tag that a key names, in any spelling or by its keyword, as eight upper-case hex digits."""
    found = _TAG.fullmatch(key)
    return (found[1] + found[2]).upper() if found else dicom_dictionary.map_keywords_to_tags().get(key.strip(" \0"))


def _rename_members(value: Any) -> dict[str, Any]:
    """Correct the names of an attribute's members; a bare value becomes its Value."""
    if not isinstance(value, _Pairs):
        return {"Value": value}
    members: dict[str, Any] = {}
    for key, member in value:
        name = _MEMBERS.get(key.strip(" \0").lower(), key)
        if name in members and members[name] != member:
            raise UnreadableError("a part of an attribute is there twice, with different values")
        members[name] = member
    is_bare = not members.keys() & _MEMBERS.values() and any(
        key.strip(" \0").lower() in _PART_NAMES or _TAG.fullmatch(key) for key in members
    )
    return {"Value": [value]} if is_bare else members


def _read_names(item: Any) -> list[Any]:
    """Convert a person's name to an object of its forms, alphabetic first (PS3.5 6.2.1); one per name in a text."""
    if isinstance(item, _Pairs):
        parts = {_PART_NAMES.get(name.strip(" \0").lower(), name): part for name, part in item}
        if not parts.keys() & set(_PARTS):
            return [item]
        alphabetic = parts.pop("Alphabetic", None)
        if not isinstance(alphabetic, str | None):
            return [item]
        read = _split_forms(representations.strip_padding(alphabetic or "", "PN"))
        others = {
            name: representations.strip_padding(part, "PN") if isinstance(part, str) else part
            for name, part in parts.items()
        }
        return [read | {name: part for name, part in others.items() if part not in ("", None)}]
    if item is None:
        return [{"Alphabetic": ""}]
    if isinstance(item, str):
        return [_split_forms(part) for part in representations.split_values(str(item), "PN")]
    return [item]


def _split_forms(text: str) -> dict[str, str]:
    forms = [part.strip(" ") for part in text.split("=", 2)]
    return {"Alphabetic": forms[0], **{name: part for name, part in zip(_PARTS[1:], forms[1:], strict=False) if part}}


def _read_first(value: Any) -> str:
    """The single value of an attribute, as text, else ""."""
    found = _rename_members(value).get("Value") if value is not None else None
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    return found.strip(" \0") if isinstance(found, str) else ""


def _select_typed(data_set: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Select the attributes of the columns, without values that do not have the form of their column."""
    for column in columns.list_dicom_columns():
        values = (data_set.get(column.source) or {}).get("Value")
        form = representations.find_form(column.type, dicom_dictionary.find_vr(column.source))
        if values and form:
            values = [_check_form(value, form, column.type) for value in values]
        elif values and column.type != "JSON":
            values = [value if _is_text(value) else None for value in values]
        if values:
            yield column.source, {"vr": "", "Value": values}


def _check_form(value: Any, form: re.Pattern[str], kind: str) -> Any:
    if isinstance(value, Number):
        return value if kind != "TIME" else None  # the leading zero of a time may be lost
    return value if isinstance(value, str) and form.fullmatch(value) else None


def _is_text(value: Any) -> bool:
    """Whether a value is a text, a number or a person's name; not true, or an object of another kind."""
    return isinstance(value.get("Alphabetic") if isinstance(value, dict) else value, str)


def _dump(value: Any) -> str:
    """Serialize to JSON, keeping the original notation of numbers."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value.replace(NUL, REPLACEMENT), ensure_ascii=False)
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{_dump(name)}:{_dump(member)}" for name, member in value) + "}"
    if isinstance(value, dict):
        return _dump(_Pairs(value.items()))
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return json.dumps(value)
