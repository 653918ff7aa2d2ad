"""Writes Parquet files of which two libraries read different rows, though both read them without an error."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_two_faced(path: Path, table: pa.Table, column: str) -> None:
    """Write a table of up to eight rows; polars reads it as it is, and others only the first text of a column.

    The page states that it has no nulls, so that polars does not look at the levels, which state that all others are.
    """
    assert 1 < table.num_rows <= 8
    pq.write_table(table.combine_chunks(), path, use_dictionary=False, compression="none", data_page_version="2.0")
    content = path.read_bytes()
    start = pq.read_metadata(path).row_group(0).column(table.column_names.index(column)).data_page_offset
    first = table[column][0].as_py().encode()
    first = len(first).to_bytes(4, "little") + first
    levels = content.index(bytes([table.num_rows << 1, 1]) + first, start)  # so many times one: a text is there
    path.write_bytes(content[:levels] + bytes([1 << 1 | 1, 0b1]) + content[levels + 2 :])  # one octet of bits
