"""Refuses a count that would disclose a few patients by its difference to an earlier one of the same caller.

Rounding protects a number. Two rounded numbers of sets that differ by one patient can still disclose that patient, when
many such pairs are asked for. So a caller who may see counts alone is remembered: what was counted for them, as sets of
digests. Two sets may be equal, or differ by at least the base on each side on which they differ.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

from warehouse.errors import WarehouseError

#: Answers that are remembered for each caller; older ones are forgotten.
_MOST_ANSWERS = 1_000
_MOST_CALLERS = 1_000


class DifferenceError(WarehouseError):
    """The answer differs from an earlier one by too few patients (exit code 1: the answer is no)."""

    exit_code = 1


class Memory:
    """What was counted for whom, by this server since it started."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, deque[frozenset[int]]] = OrderedDict()

    def admit(self, caller: str, patients: frozenset[int], base: int) -> None:
        """Remember that the caller is shown a count of these patients; DifferenceError if it must not be shown."""
        with self._lock:
            seen = self._seen.setdefault(caller, deque(maxlen=_MOST_ANSWERS))
            self._seen.move_to_end(caller)
            while len(self._seen) > _MOST_CALLERS:
                self._seen.popitem(last=False)
            if patients in seen:
                return
            if any(differ_by_few(patients, earlier, base) for earlier in seen):
                raise DifferenceError(
                    f"This count is refused: it differs from an earlier one that you were shown by fewer than {base} "
                    "patients, who could be disclosed by the difference. Ask for sets that differ by more."
                )
            seen.append(patients)


def differ_by_few(one: frozenset[int], other: frozenset[int], base: int) -> bool:
    """Whether two sets differ, on one side or both, by fewer than `base` members."""
    return any(0 < len(side) < base for side in (one - other, other - one))
