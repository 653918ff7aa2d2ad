"""Fetches a unit: reads the contents of its objects into one buffer, as texts without copying."""

from __future__ import annotations

import contextlib
from array import array
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from warehouse.ingest import reject_reasons
from warehouse.ingest.planning import PLAN_ONLY
from warehouse.object_store.base import Bucket, ReadFailure

if TYPE_CHECKING:
    import pyarrow as pa

#: The byte order mark that some programs write before a UTF-8 text.
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Objects as planned, the same with their contents as text (null if unread or not UTF-8), and the failures by
    position."""

    objects: pa.Table
    batch: pa.Table
    odd: dict[int, bytes | ReadFailure]

    @property
    def unread(self) -> list[ReadFailure]:
        """The reasons for objects that could not be read."""
        return [found for found in self.odd.values() if isinstance(found, ReadFailure)]


def fetch(bucket: Bucket, objects: pa.Table, buffer: bytearray) -> Fetched:
    """Read the objects of a unit into a buffer; SourceError if the bucket denies access."""
    keys, etags, sizes = (objects.column(name).to_pylist() for name in ("key", "etag", "size"))
    unread = bucket.read_into(memoryview(buffer), keys, etags, sizes)
    texts, odd = _build_texts(buffer, sizes, unread)
    return Fetched(
        objects, objects.drop_columns(PLAN_ONLY).append_column(make_json_field("content", texts), texts), odd
    )


def make_json_field(name: str, texts: pa.Array) -> pa.Field:
    """The field for texts of a JSON column, marked so that DuckDB does not parse them again: the extraction has parsed
    them all."""
    import pyarrow as pa

    return pa.field(name, texts.type, metadata={"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""})


def _build_texts(
    buffer: bytearray, sizes: list[int], unread: dict[int, ReadFailure]
) -> tuple[pa.Array, dict[int, bytes | ReadFailure]]:
    """View a buffer as texts without copying, validated for the whole unit at once; returns failures too."""
    import pyarrow as pa

    ends = array("q", accumulate(sizes, initial=0))
    for start, end in pairwise(ends):
        if buffer.startswith(_MARK, start, end):
            buffer[start : start + 3] = b"   "  # JSON ignores spaces, as if there were no byte order mark
    if not unread:
        with contextlib.suppress(pa.ArrowInvalid):
            offsets, data = pa.py_buffer(ends), pa.py_buffer(buffer)
            return pa.Array.from_buffers(pa.large_binary(), len(sizes), [None, offsets, data]).cast(
                pa.large_string()
            ), {}
    odd: dict[int, bytes | ReadFailure] = {**unread}
    texts: list[str | None] = [None] * len(sizes)
    for place, size in enumerate(sizes):
        if place not in unread:
            content = bytes(buffer[ends[place] : ends[place] + size])
            texts[place] = reject_reasons.decode(content)
            if texts[place] is None:
                odd[place] = content
    return pa.array(texts, pa.large_string()), odd
