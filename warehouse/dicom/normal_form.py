"""The normal form of a header, as a pattern that most headers match as submitted: the fast path of extraction.

In normal form, tags are upper case, an attribute is an object with its `vr` and a list `Value`, padding is removed, an
empty value is "", values are separate and in the form of their VR, names are objects whose `Alphabetic` comes first,
and only private attributes are `UN`. The pattern checks syntax only, without a dictionary; extraction also checks the
VR of the columns' attributes. The pattern must never match a header that is not in normal form.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog import columns

if TYPE_CHECKING:
    import pyarrow as pa

#: Headers with deeper sequences are rejected: those of DICOM are nested four or five deep.
MAX_DEPTH = 32
#: Longer headers are checked for their nesting separately, because the pattern cannot see it.
_LONG = 16_384

#: Increase it whenever the code of this package, or sql/extract, reads a header differently, so that the next refresh
#: reads all headers again. The declared columns are part of the digest anyway.
VERSION = 4


@cache
def compute_rules_digest() -> str:
    """Compute the digest of the rules that read headers into columns."""
    declared = [f"{column.name} {column.type} {column.source}" for column in columns.list_dicom_columns()]
    return hashlib.sha256("\0".join((str(VERSION), *declared)).encode()).hexdigest()[:12]


def matches_form(contents: pa.ChunkedArray) -> pa.Array:
    """Find the texts that are, provided they are JSON, headers in normal form and not nested too deeply."""
    import polars as pl
    import pyarrow as pa

    texts = pl.from_arrow(
        pa.chunked_array([chunk.cast(pa.large_string()) for chunk in contents.chunks], pa.large_string())
    )
    assert isinstance(texts, pl.Series)
    # Rust's regular expressions are twice as fast as DuckDB's.
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
    """A JSON string that neither begins nor ends with a space."""
    return f'"(?:{characters}+(?: +{characters}+)*)?"'


def _list_pattern(item: str) -> str:
    """`Value` as a list of these; [null] is also an empty value."""
    return rf'\s*,\s*"Value"\s*:\s*\[\s*(?:null\s*|{item}\s*(?:,\s*{item}\s*)*)?\]'


def _attribute_pattern(vr: str, *contents: str) -> str:
    return rf'"{vr}"(?:{"|".join(contents)})?'


@cache
def build_pattern() -> str:
    """Build the pattern, in the syntax that Rust and Python share, for a full match."""
    # \u0000 to \u007F need no escape and may hide padding; halves of surrogate pairs are left to the slow path.
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
