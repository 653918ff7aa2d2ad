"""Finds what cannot be stored safely, because DuckLake would replace a word in it (engine/placeholders.py).

Headers and clinical files are rejected for any text that would be stored of them, and listed objects for their keys.
Searching takes two microseconds a header, most of them for its JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from warehouse.engine import placeholders
from warehouse.object_store.base import Skipped

if TYPE_CHECKING:
    import pyarrow as pa

_KEY = "its key has a word of capitals in braces, which DuckLake may replace: rename the object"
_NUL = "its key has a zero byte, where a text ends for DuckLake: rename the object"
_ETAG = "its etag has a word of capitals in braces, which DuckLake may replace"
_ETAG_NUL = "its etag has a zero byte, where a text ends for DuckLake"
#: Texts of more bytes than this are searched one by one, shorter ones all at once.
_LONG = 500
_START = re.compile(rb"\{[A-Z]")
_NUL_BYTE = re.compile(rb"\0")


def clear_flags(rows: pa.Table, flag: str, *others: pa.Table) -> tuple[pa.Table, set[tuple[str, str]]]:
    """Clear the flag of rows that cannot be stored, or whose object has rows in `others` that cannot; returns their
    sources and keys, too."""
    import pyarrow as pa

    found = {name for table in (rows, *others) for name in _find_names(table)}
    if not found:
        return rows, found
    names = zip(rows.column("source").to_pylist(), rows.column("key").to_pylist(), strict=True)
    flags = zip(rows.column(flag).to_pylist(), names, strict=True)
    cleared = pa.array([value and name not in found for value, name in flags], pa.bool_())
    return rows.set_column(rows.schema.get_field_index(flag), flag, cleared), found


def drop_objects(table: pa.Table, names: set[tuple[str, str]]) -> pa.Table:
    """The table without the rows of these objects."""
    import pyarrow as pa

    if not names:
        return table
    rows = zip(table.column("source").to_pylist(), table.column("key").to_pylist(), strict=True)
    return table.filter(pa.array([name not in names for name in rows], pa.bool_()))


def drop_keys(listed: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Skipped]]:
    """A part of a listing without the objects that cannot be stored, and these, by keys in an escaped spelling."""
    import pyarrow as pa

    odd: dict[int, str] = {}
    for name, reason in (("etag", _ETAG), ("key", _KEY)):
        odd |= dict.fromkeys(_find_rows(listed.column(name)), reason)
    for name, reason in (("etag", _ETAG_NUL), ("key", _NUL)):
        odd |= dict.fromkeys(_find_nuls(listed.column(name)), reason)
    if not odd:
        return listed, []
    keys = listed.column("key").to_pylist()
    skipped = [name_safely(Skipped(keys[place], reason)) for place, reason in odd.items()]
    return listed.filter(pa.array([place not in odd for place in range(len(keys))], pa.bool_())), skipped


def name_safely(entry: Skipped) -> Skipped:
    """A skipped entry by its name in the escaped spelling."""
    return Skipped(placeholders.escape_placeholders(entry.key), entry.reason)


def _find_names(table: pa.Table) -> Iterator[tuple[str, str]]:
    """Source and key of each row that has a placeholder in any of its texts."""
    places = {place for column in table.columns for place in _find_rows(column)}
    for row in table.select(["source", "key"]).take(sorted(places)).to_pylist() if places else ():
        yield row["source"], row["key"]


def _find_rows(column: Any) -> list[int]:
    """The positions of values with a placeholder; the values are looked at only if one may have it."""
    if not any(map(_may_have, _list_texts(column))):
        return []
    return [place for place, value in enumerate(column.to_pylist()) if placeholders.has_placeholder(str(value))]


def _find_nuls(texts: pa.Array) -> list[int]:
    """The positions of texts with a NUL. In those of headers and clinical files it is replaced when they are read."""
    if not (data := texts.buffers()[2]) or not _NUL_BYTE.search(data):
        return []
    return [place for place, text in enumerate(texts.to_pylist()) if text and placeholders.NUL in text]


def _may_have(texts: Any) -> bool:
    """Whether texts may have a placeholder.

    A call for each of some thousand short texts takes longer than a look at their bytes, which may include others.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if texts.nbytes > _LONG * len(texts):
        return bool(pc.any(pc.match_substring_regex(texts, pattern=placeholders.PATTERN)).as_py())
    parts = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return any(_START.search(data) for part in parts if (data := part.buffers()[2]))


def _list_texts(column: Any) -> Iterator[Any]:
    """The texts of a column of any type: itself, or those within its lists and structs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _list_texts(column.cast(kind.storage_type))
    elif pa.types.is_dictionary(kind):
        yield from _list_texts(column.cast(kind.value_type))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _list_texts(pc.list_flatten(column))
    elif pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            yield from _list_texts(pc.struct_field(column, place))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield column
