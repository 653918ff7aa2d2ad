"""Sets of patients as numbers of 64 bits, which name nobody, and by how many members two of them differ."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Sequence
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


def adds_up_to_nearly(found: Digests, earlier: Sequence[Digests], base: int) -> bool:
    """Whether one of the sets is, but for fewer than `base` members, two others that have nobody in common.

    `found` is one of the three. Whoever has the three counts has their difference: men, women, and all. Counts of sets
    that overlap do not add up, so these are not looked at.
    """
    return any(
        _is_nearly(whole, one, other, base)
        for first, second in itertools.combinations(earlier, 2)
        for whole, one, other in ((found, first, second), (first, found, second), (second, found, first))
    )


def _is_nearly(whole: Digests, one: Digests, other: Digests, base: int) -> bool:
    import numpy as np

    # The sizes first, which rule out nearly all.
    if not (len(one) and len(other)) or abs(len(whole) - len(one) - len(other)) >= base:
        return False
    both = np.union1d(one, other)
    if len(both) < len(one) + len(other):
        return False
    n_shared = len(np.intersect1d(whole, both, assume_unique=True))
    missing, more = len(both) - n_shared, len(whole) - n_shared
    return missing < base and more < base and bool(missing or more)
