"""Rows of an answer in the form that is asked for, made in the worker that has them: the server only sends bytes.

JSON and CSV have what the command line writes (engine/json_values.py). Rows are left off beyond a number of rows or of
bytes.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from warehouse.engine.json_values import render_json_row, to_cell, write_csv
from warehouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: Rows that are fetched together.
_BATCH = 1_000


class Form(StrEnum):
    """The form of an answer: one of JSON, an Arrow IPC stream, or CSV."""

    json = "json"
    arrow = "arrow"
    csv = "csv"


#: The media type of each.
MEDIA_TYPES = {
    Form.json: "application/json",
    Form.arrow: "application/vnd.apache.arrow.stream",
    Form.csv: "text/csv",
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows in a form, how many, the names and types of their columns, and whether rows were left off."""

    data: bytes
    n_rows: int
    columns: tuple[tuple[str, str], ...]
    truncated: bool


def encode_relation(relation: duckdb.DuckDBPyRelation, form: Form, most_rows: int, most_bytes: int) -> Encoded:
    """Encode at most so many rows and bytes of a relation; JSON is an array of objects.

    UsageError if the answer has two columns of one name, which a JSON object cannot.
    """
    columns = tuple((name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True))
    limited = relation.limit(most_rows + 1)
    if form is Form.arrow:
        return _encode_arrow(limited.to_arrow_reader(_BATCH), columns, most_rows, most_bytes)
    lines = _render_json(limited, columns) if form is Form.json else _render_csv(limited)
    return _collect(lines, form, columns, most_rows, most_bytes)


def encode_table(table: pa.Table, form: Form, most_rows: int, most_bytes: int) -> Encoded:
    """The same for an Arrow table."""
    import duckdb

    with duckdb.connect() as con:
        return encode_relation(con.from_arrow(table), form, most_rows, most_bytes)


def _render_json(relation: duckdb.DuckDBPyRelation, columns: tuple[tuple[str, str], ...]) -> Iterator[str]:
    names = [name for name, _ in columns]
    if doubled := next((name for name, n in Counter(names).items() if n > 1), None):
        raise UsageError(f"Two columns are named {doubled}. Name one of them otherwise:  … as {doubled}_2")
    return (render_json_row(names, row) for row in _fetch(relation))


def _render_csv(relation: duckdb.DuckDBPyRelation) -> Iterator[str]:
    line = io.StringIO()
    for row in _fetch(relation):
        write_csv(line, [[to_cell(value) for value in row]])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _fetch(relation: duckdb.DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    relation.execute()
    while rows := relation.fetchmany(_BATCH):
        yield from rows


def _collect(
    lines: Iterator[str], form: Form, columns: tuple[tuple[str, str], ...], most_rows: int, most_bytes: int
) -> Encoded:
    is_json = form is Form.json
    kept, n_bytes, n_rows, truncated = io.BytesIO(), 0, 0, False
    if is_json:
        kept.write(b"[")
    else:
        head = io.StringIO()
        write_csv(head, [[name for name, _ in columns]])
        kept.write(head.getvalue().encode())
    for line in lines:
        data = line.encode("utf-8", "surrogatepass")
        n_bytes += len(data)
        if truncated := n_rows == most_rows or n_bytes > most_bytes:
            break
        kept.write(b",\n" if is_json and n_rows else b"")
        kept.write(data)
        n_rows += 1
    kept.write(b"]" if is_json else b"")
    return Encoded(kept.getvalue(), n_rows, columns, truncated)


def _encode_arrow(
    reader: pa.RecordBatchReader, columns: tuple[tuple[str, str], ...], most_rows: int, most_bytes: int
) -> Encoded:
    import pyarrow as pa

    sink, n_rows, n_bytes, truncated = io.BytesIO(), 0, 0, False
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            n_bytes += batch.nbytes
            if n_bytes > most_bytes:
                truncated = True
                break
            writer.write_batch(batch.slice(0, most_rows - n_rows))
            truncated = n_rows + batch.num_rows > most_rows
            n_rows = min(most_rows, n_rows + batch.num_rows)
            if truncated:
                break
    return Encoded(sink.getvalue(), n_rows, columns, truncated)
