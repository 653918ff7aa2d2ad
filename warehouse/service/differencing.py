"""Refuses a count that would disclose a few patients by its difference to an earlier one of the same caller.

Rounding protects a number. Two rounded numbers of sets that differ by one patient can still disclose that patient, when
many such pairs are asked for. So a caller who may see counts alone is remembered: what was counted for them, as sets of
digests. Two sets may be equal, or differ by at least the base on each side on which they differ. An answer may show
several counts, such as the steps of a cohort, which are rounded together: each is compared with its own earlier ones.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping

from warehouse.errors import WarehouseError

#: Answers that are remembered for each caller and name; older ones are forgotten.
_MOST_ANSWERS = 1_000
_MOST_NAMES = 10_000


class DifferenceError(WarehouseError):
    """The answer differs from an earlier one by too few patients (exit code 1: the answer is no)."""

    exit_code = 1


class Memory:
    """What was counted for whom, by this server since it started."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], deque[frozenset[int]]] = OrderedDict()

    def admit(self, caller: str, counted: Mapping[str, frozenset[int]], base: int) -> None:
        """Remember that the caller is shown counts of these patients, by the name of what is counted.

        DifferenceError if one of them must not be shown; then none is remembered.
        """
        with self._lock:
            new = [name for name, patients in counted.items() if patients not in self._recall(caller, name)]
            for name in new:
                if any(differ_by_few(counted[name], earlier, base) for earlier in self._recall(caller, name)):
                    raise DifferenceError(
                        "This count is refused: it differs from an earlier one that you were shown by fewer than "
                        f"{base} patients, who could be disclosed by the difference. Ask for sets that differ by more."
                    )
            for name in new:
                self._recall(caller, name).append(counted[name])

    def _recall(self, caller: str, name: str) -> deque[frozenset[int]]:
        seen = self._seen.setdefault((caller, name), deque(maxlen=_MOST_ANSWERS))
        self._seen.move_to_end((caller, name))
        while len(self._seen) > _MOST_NAMES:
            self._seen.popitem(last=False)
        return seen


def differ_by_few(one: frozenset[int], other: frozenset[int], base: int) -> bool:
    """Whether two sets differ, on one side or both, by fewer than `base` members."""
    return any(0 < len(side) < base for side in (one - other, other - one))
