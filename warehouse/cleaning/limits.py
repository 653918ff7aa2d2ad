"""What a clinical record may have at most: records beyond it are rejected before they are taken apart.

A record of the schema has some hundred fields and some thousand characters. What is far beyond that is something else,
and would cost memory that is not bounded by its size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from warehouse.cleaning import tables
from warehouse.errors import UnreadableError

#: Up to so many bytes the numbers of fields alone are looked at: no more can hide in so few.
QUICK_BYTES = 16_384
#: Bytes of a record.
MAX_BYTES = 4_000_000
#: Fields of a record that the schema does not know, or has already.
MAX_UNKNOWN = 1_000
#: Items of SwabDates.
MAX_SWABS = 1_000
#: Lists and objects within each other.
MAX_DEPTH = 32


def check_size(text: str) -> None:
    """UnreadableError says what a record has too much of. The text is JSON."""
    if len(text.encode()) > MAX_BYTES:
        raise UnreadableError(f"larger than {MAX_BYTES:,} bytes: no clinical record is")
    n_fields, swabs, deepest = 0, 0, 0
    for depth, pairs in _iterate_objects(json.loads(text, object_pairs_hook=_Pairs)):
        deepest = max(deepest, depth)
        n_fields += len(pairs)
        swabs = max([swabs, *(len(value) for key, value in pairs if key == "SwabDates" and isinstance(value, list))])
    if deepest > MAX_DEPTH:
        raise UnreadableError(f"nested more than {MAX_DEPTH} deep")
    if swabs > MAX_SWABS:
        raise UnreadableError(f"more than {MAX_SWABS:,} items of SwabDates")
    if n_fields > max_fields():
        raise UnreadableError(f"more than {MAX_UNKNOWN:,} fields that the schema does not know or has already")


def max_fields() -> int:
    """How many names of fields a record may have, with those of the objects within it."""
    return 2 * len(tables.list_fields()) + MAX_UNKNOWN


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its members."""


def _iterate_objects(value: Any) -> Iterator[tuple[int, _Pairs]]:
    """Every list or object of a record (a list without members), and how deep it lies."""
    ahead = [(1, value)]
    while ahead:
        depth, node = ahead.pop()
        if isinstance(node, list):
            yield depth, node if isinstance(node, _Pairs) else _Pairs()
            inner = [member for _, member in node] if isinstance(node, _Pairs) else node
            ahead.extend((depth + 1, item) for item in inner)
