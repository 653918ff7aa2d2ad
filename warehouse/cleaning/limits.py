"""Size limits of a clinical record: larger ones are rejected before they are split into values.

A record of the schema has some hundred fields and some thousand characters. Anything far larger is not a record, and
could need memory out of proportion to its size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from warehouse.cleaning import tables
from warehouse.errors import UnreadableError

#: Up to this many bytes only the numbers of fields are checked: so few bytes cannot exceed the other limits.
QUICK_BYTES = 16_384
#: The most bytes of a record.
MAX_BYTES = 4_000_000
#: The most unknown or duplicate fields of a record.
MAX_UNKNOWN = 1_000
#: The most items of SwabDates.
MAX_SWABS = 1_000
#: The deepest nesting of lists and objects.
MAX_DEPTH = 32


def check_size(text: str) -> None:
    """Raise UnreadableError if a record, as JSON text, exceeds a limit."""
    if len(text.encode()) > MAX_BYTES:
        raise UnreadableError(f"larger than {MAX_BYTES:,} bytes, the limit for a clinical record")
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
        raise UnreadableError(f"more than {MAX_UNKNOWN:,} unknown or duplicate fields")


def max_fields() -> int:
    """The most field names that a record may have, including those of nested objects."""
    return 2 * len(tables.list_fields()) + MAX_UNKNOWN


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its members, duplicates included."""


def _iterate_objects(value: Any) -> Iterator[tuple[int, _Pairs]]:
    """Yield the depth and the members of every list or object of a record; a list has no members."""
    ahead = [(1, value)]
    while ahead:
        depth, node = ahead.pop()
        if isinstance(node, list):
            yield depth, node if isinstance(node, _Pairs) else _Pairs()
            inner = [member for _, member in node] if isinstance(node, _Pairs) else node
            ahead.extend((depth + 1, item) for item in inner)
