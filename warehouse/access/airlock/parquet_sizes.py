"""How much a Parquet file would be in memory: a small one may have one long text a million times.

A dictionary has each text once, and other encodings only what differs from the text before. So columns of texts are
read as dictionaries, and measured before they are taken apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

#: Encodings in which a value takes as many bytes as it has.
_AS_IT_IS = {"PLAIN", "RLE", "BIT_PACKED", "DELTA_LENGTH_BYTE_ARRAY"}
_OF_DICTIONARY = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}
_TEXTS = {"BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}


def list_texts(metadata: Any) -> list[str]:
    """The columns that can be read as dictionaries: texts that are in no list or struct."""
    columns = (metadata.schema.column(place) for place in range(metadata.num_columns))
    return [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and not column.max_repetition_level and column.path == column.name
    ]


def may_expand(metadata: Any, texts: Collection[str], most: int) -> bool:
    """Whether a file may have more than so many bytes in memory, where `texts` are read as dictionaries."""
    total = 0
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            size = max(chunk.total_uncompressed_size, 0)
            repeating = {*chunk.encodings} - _AS_IT_IS - (_OF_DICTIONARY if chunk.path_in_schema in texts else set())
            if chunk.physical_type in _TEXTS and repeating:
                size *= max(chunk.num_values, 1)  # at most: each value is all of it
            total += size
    return total > most


def measure_texts(table: pa.Table) -> int:
    """The bytes of all texts that were read as dictionaries, once they are taken apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            lengths = pc.cast(pc.binary_length(chunk.dictionary), pa.int64())
            total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return total
