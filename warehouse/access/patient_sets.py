"""Sets of patients as numbers of 64 bits, which name nobody, and by how many members two of them differ."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
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
    n_shared = _count_shared(one, other)
    return any(0 < len(side) - n_shared < base for side in (one, other))


def adds_up_to_nearly(found: Digests, earlier: Sequence[Digests], base: int) -> bool:
    """Whether one of the sets is, but for fewer than `base` members, two others that have nobody in common.

    `found` is one of the three. Whoever has the three counts has their difference: men, women, and all. Counts of sets
    that overlap do not add up, so these are not looked at.

    There are a million pairs of a thousand sets, so few of them are looked at: those whose members can fit.
    """
    import numpy as np

    if not earlier:
        return False
    sizes = np.array([len(each) for each in earlier])
    shared = np.array([_count_shared(found, each) for each in earlier])
    inside = np.flatnonzero((sizes > 0) & (sizes - shared < base))
    apart = np.flatnonzero((sizes > 0) & (shared == 0))
    around = np.flatnonzero(len(found) - shared < (base if len(found) else 0))
    tally, tallies = _tally(found), np.stack([_tally(each) for each in earlier])
    parts = _find_fitting(tally - tallies, inside, tallies, base)
    wholes = _find_fitting(tallies - tally, around, tallies, base, apart)
    pairs = itertools.chain(
        ((found, earlier[one], earlier[other]) for one, other in parts),
        ((earlier[whole], found, earlier[other]) for whole, other in wholes),
    )
    return any(_is_nearly(whole, one, other, base) for whole, one, other in pairs)


def _find_fitting(
    missing: NDArray[np.int64],
    first: NDArray[np.int64],
    tallies: NDArray[np.int64],
    base: int,
    second: NDArray[np.int64] | None = None,
) -> Iterator[tuple[int, int]]:
    """Pairs of places, one of `first` and one of `second` (by default of `first`, after it), where the tally of the
    second is what is missing at the first, but for what so few members make of it."""
    import numpy as np

    for place, one in enumerate(first):
        rest = first[place + 1 :] if second is None else second
        differences = np.abs(tallies[rest] - missing[one]).sum(axis=1)
        yield from ((int(one), int(other)) for other in rest[differences < 2 * base] if other != one)


def _tally(found: Digests) -> NDArray[np.int64]:
    """How many members a set has of each of 64 kinds, by their last bits, which are those of a digest. Of sets that
    have nobody in common the tallies add up."""
    import numpy as np

    return np.bincount((found & np.uint64(63)).astype(np.int64), minlength=64)


def _count_shared(one: Digests, other: Digests) -> int:
    """How many members two sets have in common."""
    import numpy as np

    fewer, more = sorted((one, other), key=len)
    if not len(fewer):
        return 0
    places = np.searchsorted(more, fewer)
    return int(np.count_nonzero(more[np.minimum(places, len(more) - 1)] == fewer))


def _is_nearly(whole: Digests, one: Digests, other: Digests, base: int) -> bool:
    if _count_shared(one, other):
        return False
    n_shared = _count_shared(whole, one) + _count_shared(whole, other)
    missing, more = len(one) + len(other) - n_shared, len(whole) - n_shared
    return missing < base and more < base and bool(missing or more)
