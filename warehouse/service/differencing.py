"""Refuses a count that would disclose a few patients by its difference to an earlier one of the same caller.

Rounding protects a number. Two rounded numbers of sets that differ by one patient can still disclose that patient, when
many such pairs are asked for. So a caller who may see counts alone is remembered: what was counted for them, as sets of
digests. Two sets may be equal, or differ by at least the base on each side on which they differ; and so may a set and
two others together that have nobody in common. An answer may show
several counts, such as the steps of a cohort, which are rounded together: each is compared with its own earlier ones.

A refusal discloses that there is a small difference, one bit. So after some refusals a caller gets no new counts. A
count that fails as its query runs discloses one bit as well, and is a refusal.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from warehouse.access.patient_sets import DifferenceError, adds_up_to_nearly, differ_by_few, digest_set, to_array

if TYPE_CHECKING:
    from warehouse.access.patient_sets import Digests

#: What is remembered of all callers, in bytes; the oldest is forgotten.
_MOST_BYTES = 512 * 2**20
#: Refusals after which a caller is shown no new count by this server.
_MOST_REFUSALS = 5
#: Different counts of one kind after which a caller is shown no other: each new one is compared with all of them.
_MOST_COUNTS = 5_000


class Memory:
    """What was counted for whom, by this server since it started. Safe to use from several threads.

    To compare takes longer the more a caller was shown, so that nobody else waits for it: one count of a caller is
    compared at a time, and the lock that all callers share is held for moments.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._seen: OrderedDict[tuple[str, str, bytes], Digests] = OrderedDict()
        self._refused: Counter[str] = Counter()
        self._n_bytes = 0

    def admit(self, caller: str, counted: Mapping[str, Collection[int]], base: int) -> None:
        """Remember that the caller is shown counts of these patients (digests), by the name of what is counted.

        DifferenceError if one of them must not be shown; then none is remembered.
        """
        sets = {name: to_array(patients) for name, patients in counted.items()}
        keys = {name: (caller, name, digest_set(found)) for name, found in sets.items()}
        with self._lock:
            turn = self._turns[caller]
        with turn:
            with self._lock:
                new = [name for name in sets if keys[name] not in self._seen]
                earlier = {name: self._list_seen(caller, name) for name in new}
                if new:
                    self._require_patience(caller)
            for name in new:
                self._compare(caller, sets[name], earlier[name], base)
            with self._lock:
                for name, found in sets.items():
                    if keys[name] not in self._seen:
                        self._n_bytes += found.nbytes
                        self._seen[keys[name]] = found
                    self._seen.move_to_end(keys[name])
                while self._n_bytes > _MOST_BYTES:
                    self._n_bytes -= self._seen.popitem(last=False)[1].nbytes

    def recalls(self, caller: str, name: str, patients: Collection[int]) -> bool:
        """Whether the caller was shown a count of exactly these patients before; asking this discloses nothing."""
        digest = digest_set(to_array(patients))
        with self._lock:
            return (caller, name, digest) in self._seen

    def refuse(self, caller: str, reason: str) -> DifferenceError:
        """The error of a count that failed, which discloses one bit too, and counts as a refusal."""
        with self._lock:
            self._require_patience(caller)
            self._refused[caller] += 1
        return DifferenceError(f"This count is refused. {reason} Ask with others.")

    def _list_seen(self, caller: str, name: str) -> list[Digests]:
        return [each for (whose, what, _), each in self._seen.items() if (whose, what) == (caller, name)]

    def _require_patience(self, caller: str) -> None:
        """DifferenceError after too many refusals; within the lock."""
        if self._refused[caller] >= _MOST_REFUSALS:
            raise DifferenceError(
                f"You are shown no new counts: {_MOST_REFUSALS} were refused since they differed by too few patients, "
                "or failed. Ask who gave you the token."
            )

    def _compare(self, caller: str, found: Digests, earlier: list[Digests], base: int) -> None:
        if len(earlier) >= _MOST_COUNTS:
            raise DifferenceError(
                f"You are shown no new counts: you were shown {_MOST_COUNTS:,} different ones since the server "
                "started. Ask who gave you the token."
            )
        if any(differ_by_few(found, each, base) for each in earlier) or adds_up_to_nearly(found, earlier, base):
            with self._lock:
                self._refused[caller] += 1
            raise DifferenceError(
                "This count is refused: it differs from an earlier one that you were shown, or from the sum of two, by "
                f"fewer than {base} patients, who could be disclosed by the difference. Ask for sets that differ by "
                "more."
            )
