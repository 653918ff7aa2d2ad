"""The normal form of a header, as a pattern that most headers match as they were sent: the quick way of the extraction.

In normal form, tags are upper case, an attribute is an object of its `vr` and a list `Value`, padding is cut, a gap
among values is "", values are apart and in the form of their VR, names are objects whose `Alphabetic` comes first, and
only private attributes are `UN`. The pattern says what stands beside what. It knows no dictionary; of the columns'
attributes the extraction looks at the VR besides. It must never match what is not in normal form.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog import columns

if TYPE_CHECKING:
    import pyarrow as pa

#: Sequences nested deeper than this are no header: DICOM's own are nested four or five deep.
MAX_DEPTH = 32
#: A header of more bytes is looked at by itself: how deeply it is nested its pattern does not see.
_LONG = 16_384

#: Raised whenever the code of this package, or sql/extract, reads a header differently than before, so that the next
#: refresh reads all headers again. The declared columns are part of the digest by themselves.
VERSION = 3


@cache
def compute_rules_digest() -> str:
    """What names the rules by which headers are read into columns."""
    declared = [f"{column.name} {column.type} {column.source}" for column in columns.list_dicom_columns()]
    return hashlib.sha256("\0".join((str(VERSION), *declared)).encode()).hexdigest()[:12]


def matches_form(contents: pa.ChunkedArray) -> pa.Array:
    """Which of the texts, if they are JSON at all, are headers in normal form that are nested not too deeply."""
    import polars as pl
    import pyarrow as pa

    texts = pl.from_arrow(
        pa.chunked_array([chunk.cast(pa.large_string()) for chunk in contents.chunks], pa.large_string())
    )
    assert isinstance(texts, pl.Series)
    # Rust's regular expressions take half the time of those of DuckDB.
    found = texts.str.contains(f"^(?:{build_pattern()})$") & texts.str.contains('"', literal=True)
    is_long = (found & (texts.str.len_bytes() > _LONG)).fill_null(False)
    if is_long.any():
        found = found & ~pl.Series([bool(long) and _is_deep(text) for long, text in zip(is_long, texts, strict=True)])
    return found.fill_null(False).to_arrow()


def _is_deep(text: str) -> bool:
    """Whether sequences are nested more than MAX_DEPTH deep; each is an attribute, its list and the item in it."""
    deepest = now = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        if token[0] in "[{":
            now += 1
            deepest = max(deepest, now)
        elif token[0] in "]}":
            now -= 1
    return deepest > 3 * MAX_DEPTH + 4


def _text_pattern(characters: str) -> str:
    """A JSON text that neither begins nor ends with a space."""
    return f'"(?:{characters}+(?: +{characters}+)*)?"'


def _list_pattern(item: str) -> str:
    """Value as a list of these; [null] is how an empty value is written too."""
    return rf'\s*,\s*"Value"\s*:\s*\[\s*(?:null\s*|{item}\s*(?:,\s*{item}\s*)*)?\]'


def _attribute_pattern(vr: str, *contents: str) -> str:
    return rf'"{vr}"(?:{"|".join(contents)})?'


@cache
def build_pattern() -> str:
    """The pattern, in the syntax that Rust and Python have in common; to be matched whole."""
    # \u0000 to \u007F need no escape and may hide padding; halves of surrogate pairs are left to the slow way.
    unicode = (
        r"\\u(?:00[89a-fA-F][0-9a-fA-F]|0[1-9a-fA-F][0-9a-fA-F]{2}"
        r"|[1-9a-cA-CeEfF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})"
    )
    plain = rf'(?:[^"\\\x00-\x20]|\\["/bfnrt]|{unicode})'
    in_name = rf'(?:[^"\\\x00-\x20=]|\\["/bfnrt]|{unicode})'
    free = rf'(?:[^"\\\x00-\x20]|\\["\\/bfnrt]|{unicode})'
    text = _text_pattern(plain)
    number = r"-?[0-9][0-9.eE+-]*"
    decimal = rf'(?:{number}|"(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)?")'
    whole = rf'(?:{number}|"(?:[+-]?[0-9]+)?")'
    date = r'"(?:[0-9]{8})?"'
    time = r'"(?:[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?)?"'
    name = (
        rf'\{{\s*"Alphabetic"\s*:\s*{_text_pattern(in_name)}(?:\s*,\s*"(?:Ideographic|Phonetic)"\s*:\s*{text})*\s*\}}'
    )
    bulk = rf'\s*,\s*"BulkDataURI"\s*:\s*{text}'
    inline = r'\s*,\s*"InlineBinary"\s*:\s*(?:null|"[A-Za-z0-9+/=]*")'
    attribute = (
        r'\{\s*"vr"\s*:\s*(?:'
        + "|".join((
            _attribute_pattern("AS", _list_pattern(r'"(?:[0-9]{3}[DWMY])?"')),
            _attribute_pattern("(?:A[ET]|CS|DT|LO|SH|UI)", _list_pattern(f"(?:{text}|{number})"), bulk),
            _attribute_pattern("(?:DS|F[DL])", _list_pattern(decimal), bulk),
            _attribute_pattern("(?:IS|S[LSV]|U[LSV])", _list_pattern(whole), bulk),
            _attribute_pattern("DA", _list_pattern(date)),
            _attribute_pattern("TM", _list_pattern(time)),
            _attribute_pattern("UC", _list_pattern(rf'"(?: *{plain}+)*"'), bulk),
            _attribute_pattern("(?:LT|ST|U[RT])", _list_pattern(rf'"(?: *{free}+)*"'), bulk),
            _attribute_pattern("PN", _list_pattern(name)),
            _attribute_pattern("O[BDFLVW]", inline, bulk),
        ))
        + r")\s*\}"
    )  # fmt: skip
    private = rf'"[0-9A-F]{{3}}[13579BDF][0-9A-F]{{4}}"\s*:\s*\{{\s*"vr"\s*:\s*"UN"(?:{inline}|{bulk})?\s*\}}'
    key = r'"[0-9A-F]{8}"\s*:\s*'
    sequence = rf'{key}\{{\s*"vr"\s*:\s*"SQ"(?:\s*,\s*"Value"\s*:\s*\[)?'
    return rf"\s*\{{(?:{key}(?:{attribute}|null)|{private}|{sequence}|[\s,{{}}\]]|null)*\}}\s*"
