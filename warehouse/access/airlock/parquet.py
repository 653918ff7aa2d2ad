"""Reads Parquet files that wait in the airlock, and writes them anew, so that they have their rows and nothing else.

A small file may be huge in memory: it may have one long text a million times. A dictionary has each text once, and
other encodings only what differs from the text before. So columns of texts are read as dictionaries, and measured
before they are taken apart.

A file may also have what this reading does not show, and another does: values of a dictionary that no row has (as a
table of pandas has of which rows were left out), metadata, and pages in places that only other libraries look at.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.access.airlock import kinds
from warehouse.access.airlock.holding import MOST_CELLS, MOST_MB
from warehouse.errors import UsageError
from warehouse.filesystem import files

if TYPE_CHECKING:
    import pyarrow as pa

#: Encodings in which a value takes as many bytes as it has.
_AS_IT_IS = {"PLAIN", "RLE", "BIT_PACKED", "DELTA_LENGTH_BYTE_ARRAY"}
_OF_DICTIONARY = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}
_TEXTS = {"BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}


def write_anew(path: Path) -> None:
    """Write a Parquet file anew, in its place, of its columns and rows alone; a file of another kind stays as it is.

    So does one that is not read whole, of which the inspection says so. UsageError if it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if kinds.find_kind(path) != "parquet" or (table := read_table(path)) is None:
        return
    try:
        plain = table.cast(pa.schema([pa.field(field.name, _take_apart(field.type)) for field in table.schema]))
        # Without Arrow's own schema, which has metadata of each field.
        with files.make_part_folder(path.parent) as part:
            pq.write_table(plain, part / "anew", compression="zstd", store_schema=False)
            (part / "anew").replace(path)
    except pa.ArrowException as error:
        raise UsageError(
            f"{path.name} cannot be written anew, as Parquet files are before they are released: "
            f"{str(error).splitlines()[0]}. Save it with other types, or as CSV."
        ) from None


def _take_apart(kind: Any) -> Any:
    """A type with texts in the place of dictionaries, at any depth."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_take_apart(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_take_apart(kind.key_type), _take_apart(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_take_apart(kind.value_type)))
    return kind


def read_table(path: Path) -> pa.Table | None:
    """The rows of a Parquet file; None if they are too many, or too large in memory. UsageError if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            texts = _list_texts(file.metadata)
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            if file.metadata.num_rows * file.metadata.num_columns > MOST_CELLS:
                return None
            if _may_expand(file.metadata, texts, MOST_MB << 20):
                return None
            table = file.read()
        return None if _measure_texts(table) > MOST_MB << 20 else table
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} is not a Parquet file that can be read: {str(error).splitlines()[0]}.") from None


def _list_texts(metadata: Any) -> list[str]:
    """The columns that can be read as dictionaries: texts that are in no list or struct."""
    columns = (metadata.schema.column(place) for place in range(metadata.num_columns))
    return [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and not column.max_repetition_level and column.path == column.name
    ]


def _may_expand(metadata: Any, texts: Collection[str], most: int) -> bool:
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


def _measure_texts(table: pa.Table) -> int:
    """The bytes of all texts that were read as dictionaries, once they are taken apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            lengths = pc.cast(pc.binary_length(chunk.dictionary), pa.int64())
            total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return total
