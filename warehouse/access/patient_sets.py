"""Sets of patients as numbers of 64 bits, which name nobody, and by how many members two of them differ."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from warehouse.errors import AccessRefusedError
from warehouse.lake import secret

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]


class DifferenceError(AccessRefusedError):
    """The answer differs from an earlier one by too few patients (exit code 1: the answer is no)."""


def digest_patients(key: bytes, patients: Iterable[str]) -> Digests:
    """The set of patients as numbers: the first 64 bits of an HMAC-SHA256 of each, keyed with the secret of a lake."""
    found = (secret.compute_digest(key, f"released patient {patient}") for patient in set(patients))
    return to_array([int(digest.rpartition(":")[2][:16], 16) for digest in found])


def to_array(numbers: Collection[int]) -> Digests:
    """The numbers sorted, each once; negative ones as DuckDB's unsigned hashes read as signed."""
    import numpy as np

    if isinstance(numbers, np.ndarray):
        return np.unique(numbers.astype(np.uint64, copy=False))
    given = np.fromiter((number & 0xFFFF_FFFF_FFFF_FFFF for number in numbers), np.uint64, len(numbers))
    found: Digests = np.unique(given)
    return found


def digest_set(found: Digests) -> bytes:
    """SHA-256 of a set, by which it is recognised."""
    return hashlib.sha256(found.tobytes()).digest()


def differ_by_few(one: Digests, other: Digests, base: int) -> bool:
    """Whether two sets (sorted, without doubles) differ, on one side or both, by fewer than `base` members."""
    import numpy as np

    n_shared = len(np.intersect1d(one, other, assume_unique=True))
    return any(0 < len(side) - n_shared < base for side in (one, other))
