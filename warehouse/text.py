"""Shows control characters escaped, so that data cannot control a terminal or reverse a line, nor run in a spreadsheet.

Control characters (C0, DEL, C1), those that change the direction of writing or have no width, line and paragraph
separators and lone surrogates become `\\x1b`, `\\u202e` and the like: the reader sees that they are there.
A leaf: it imports nothing of the warehouse.
"""

from __future__ import annotations

import re

#: Unicode's Cc, Cs, Zl, Zp and Cf, which steer, hide or reorder, with the fillers that show nothing.
_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_CONTROLS = re.compile(f"[{_UNSEEN}]")
_LINES = re.compile(f"(?!\n)[{_UNSEEN}]")
#: What XML cannot have, escaped or not.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: In JSON the plain controls are escaped already, and white space between values is not part of a text.
_IN_JSON = re.compile(f"(?![\n\t ])[{_UNSEEN}]")
#: A number, which a spreadsheet takes for no more than that, whatever its sign.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
#: Where a spreadsheet begins a cell, and the characters with which a formula begins, full-width ones too. Semicolons
#: and tabs separate cells where commas do not: it depends on the language that Excel is set to.
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=(?:[^\S\t\r\n]|\x22)*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r])")


def escape_controls(text: str, *, keep_lines: bool = True) -> str:
    """The text with every character escaped that is not to be seen; line feeds stay unless `keep_lines` is false."""
    return (_LINES if keep_lines else _CONTROLS).sub(_escape_match, text)


def escape_json(text: str) -> str:
    """JSON whose texts hold no such character: the same value, written with `\\u` (a pair of them beyond U+FFFF)."""
    return _IN_JSON.sub(_escape_json_match, text)


def defuse_formula(text: str) -> str:
    """A text for a cell of a CSV file that is opened in a spreadsheet, which takes none of it for a formula.

    An apostrophe is put before what begins like one: spreadsheets show such a cell as text. Numbers stay as they are.
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1'", text)


def _escape_match(found: re.Match[str]) -> str:
    code = ord(found[0])
    named = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    if named:
        return named
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_json_match(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def replace_invalid_xml(text: str) -> str:
    """A text with U+FFFD for each character that XML cannot have: vl-convert ends the process on one, or raises."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
