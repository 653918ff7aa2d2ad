"""The digest of a cohort's answer: the same for the same rows, in any order."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer


def compute_digest(cohort: CohortAnswer) -> str:
    """Compute `sha256:` and 64 hex digits over the column names and the rows, sorted by their grain."""
    rows = cohort.rows
    sha = hashlib.sha256(json.dumps(rows.column_names).encode())
    for batch in rows.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            sha.update(json.dumps([*row.values()], ensure_ascii=False, default=str).encode())
    return f"sha256:{sha.hexdigest()}"
