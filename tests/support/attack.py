"""An attacker who knows the method of rounding, all that is shown, and what adds up: a solver for whole numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from warehouse.disclosure_control import round_count

#: More than any count that is tried.
MOST = 500.0


class Attack:
    """Unknown counts with what is known of each, and of sums of them."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}
        self.sums: list[tuple[dict[str, float], float, float]] = []

    def unknown(self, name: str, low: float = 0, high: float = MOST) -> None:
        """A count of which no more is known."""
        self.low[name], self.high[name] = max(0, low), high

    def rounded(self, name: str, shown: int) -> None:
        """A count that was rounded by itself."""
        fitting = [n for n in range(shown + 2 * self.base) if round_count(n, self.base) == shown]
        self.unknown(name, fitting[0], fitting[-1])

    def part(self, name: str, shown: int) -> None:
        """A count that was rounded up or down, so that it adds up with others."""
        self.unknown(name, shown - self.base + 1, shown + self.base - 1)

    def cell(self, name: str, shown: int) -> None:
        """A cell of a table: rounded down, or raised, and raised twice where its totals allow no other table."""
        self.unknown(name, shown - 2 * self.base, shown + self.base - 1)

    def know(self, terms: Mapping[str, float], low: float = 0, high: float = 0) -> None:
        """A sum of counts, each with its factor, lies between two numbers; by default it is 0."""
        self.sums.append((dict(terms), low, high))

    def never_more(self, part: str, *wholes: str) -> None:
        """Part of the sum of others."""
        self.know({part: -1, **dict.fromkeys(wholes, 1)}, 0, np.inf)

    def values(self, terms: Mapping[str, float], tried: Sequence[int]) -> set[int]:
        """Those of the numbers tried that a sum of counts may have."""
        return {value for value in tried if self._is_possible([*self.sums, (dict(terms), value, value)])}

    def _is_possible(self, sums: Sequence[tuple[dict[str, float], float, float]]) -> bool:
        place = {name: number for number, name in enumerate(self.low)}
        matrix = np.zeros((len(sums), len(place)))
        for row, (terms, _, _) in enumerate(sums):
            for name, factor in terms.items():
                matrix[row, place[name]] += factor
        found = milp(
            np.zeros(len(place)),
            integrality=np.ones(len(place)),
            bounds=Bounds([*self.low.values()], [*self.high.values()]),
            constraints=LinearConstraint(matrix, [low for _, low, _ in sums], [high for _, _, high in sums]),
        )
        assert found.status in (0, 2), found.message
        return bool(found.status == 0)
