"""The digest of a cohort's answer: the same for the same rows, in any order."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.cohorts.answer import CohortAnswer

#: Rows at a time, so that of a long answer few are Python objects at once.
_ROWS = 10_000


def compute_digest(cohort: CohortAnswer) -> str:
    """Compute `sha256:` and 64 hex digits over the column names and the rows, sorted by their grain: each row is a JSON
    list, in which what JSON has no form for is the text that Python's `str` gives."""
    rows = cohort.rows
    sha = hashlib.sha256(json.dumps(rows.column_names).encode())
    encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
    for batch in rows.to_batches(max_chunksize=_ROWS):
        columns = [_list_values(column) for column in batch.columns]
        sha.update("".join(map(encode, zip(*columns, strict=True))).encode())
    return f"sha256:{sha.hexdigest()}"


def _list_values(column: pa.Array) -> list[Any]:
    """The values of a column as Python objects; days as texts, which Arrow writes faster than `default` and alike."""
    import pyarrow as pa

    values: list[Any] = (column.cast(pa.string()) if pa.types.is_date32(column.type) else column).to_pylist()
    return values
