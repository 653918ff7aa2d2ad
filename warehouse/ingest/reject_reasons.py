"""Explains why an object cannot be read, for ops.rejects; never with a value of the object."""

from __future__ import annotations

import json

from warehouse.cleaning.limits import check_size
from warehouse.dicom.normalising import MAX_CHARACTERS, normalise
from warehouse.engine.placeholders import has_placeholder
from warehouse.errors import UnreadableError

#: Descriptions of the expected content of a key.
HEADER, RECORD = "a DICOM header", "a clinical record"
#: Of what the lake cannot store as it is.
PLACEHOLDER = "has a word of capitals in braces, which DuckLake may replace: it cannot be stored safely"

_HTML = (b"<!doctype html", b"<html", b"<?xml", b"<error", b"<head", b"<body")


def decode(content: bytes) -> str | None:
    """Decode an object without its byte order mark; None if it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def find_reason(content: bytes, wanted: str) -> str:
    """Explain why content is not the expected JSON object (`a DICOM header`, `a clinical record`)."""
    if not content.strip():
        return "empty" if not content else "empty: nothing but white space"
    if content.lstrip()[:20].lower().startswith(_HTML):
        return "HTML or XML instead of JSON"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "not UTF-8: UTF-16 by its byte order mark"
    if b"\x00" in content[:1024]:
        return "binary data instead of JSON"
    text = decode(content)
    if text is None:
        return "not UTF-8"
    return _find_json_reason(text, wanted)


def _find_json_reason(text: str, wanted: str) -> str:
    if len(text) > MAX_CHARACTERS:
        return f"longer than {MAX_CHARACTERS:,} characters, and not {wanted} in its usual form"
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # Python accepts half a surrogate pair, DuckDB does not
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            return f"truncated JSON: it ends within a value (after {len(text):,} characters)"
        return f"not JSON: {error.msg} at character {error.pos:,}"
    except UnicodeEncodeError:
        return "not JSON that can be read: half of a surrogate pair in a text"
    except (RecursionError, ValueError):
        return "not JSON that can be read: nested too deeply, or a number too long"
    if isinstance(value, dict):
        return _find_object_reason(text, value, wanted)
    return f"a JSON {'list' if isinstance(value, list) else 'value'} instead of an object"


def _find_object_reason(text: str, value: dict[str, object], wanted: str) -> str:
    """Explain why a JSON object is not the expected one, in the words of the code that checks it."""
    try:
        if wanted == HEADER:
            normalise(text)
        else:
            check_size(text)
    except UnreadableError as error:
        return str(error)
    # Cleaning and reading may have made capitals of small letters.
    if has_placeholder(f"{text}{json.dumps(value, ensure_ascii=False)}".upper()):
        return PLACEHOLDER
    return f"a JSON object, but not {wanted}"
