"""Growth: exponents by least squares of logarithms, and what follows from them for sizes that were not measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.results import Part, Row


@dataclass(frozen=True, slots=True)
class Curve:
    """The medians of a measure by the number of objects, smallest first."""

    points: tuple[tuple[int, float], ...]

    @property
    def exponent(self) -> float | None:
        """The growth exponent over all sizes, by least squares; None with fewer than two sizes."""
        return _fit(self.points)

    @property
    def last_exponent(self) -> float | None:
        """That between the two largest sizes: what the start of a program costs is no longer in it."""
        return _fit(self.points[-2:])

    @property
    def step(self) -> float:
        """What an object more costs between the two largest sizes; of one size, its value by its objects."""
        size, value = self.points[-1]
        smaller, less = self.points[-2] if len(self.points) > 1 else (0, 0.0)
        return (value - less) / (size - smaller)

    def extrapolate(self, n_objects: int) -> float:
        """The value at another size, from the largest one with the exponent of the two largest, but no less than 1."""
        size, value = self.points[-1]
        return float(value * (n_objects / size) ** max(1.0, self.last_exponent or 1.0))


def _fit(points: Iterable[tuple[int, float]]) -> float | None:
    logs = [(math.log(size), math.log(value)) for size, value in points if value > 0]
    if len(logs) < 2:
        return None
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def build_curve(part: Part, measure: str, **at: str) -> Curve:
    """The curve of a measure at a place, which lacks only the number of objects."""
    rows = [row for row in part.rows if row.name == measure and at.items() <= row.at.items()]
    return Curve(tuple(sorted((int(row.at["objects"]), row.median) for row in rows)))


def find_largest(part: Part, measure: str, **at: str) -> Row | None:
    """The row of a measure at a place with the most objects."""
    rows = [row for row in part.rows if row.name == measure and at.items() <= row.at.items()]
    return max(rows, key=lambda row: int(row.at["objects"]), default=None)
