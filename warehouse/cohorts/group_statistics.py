"""Statistics by which groups of persons are compared: means and quantiles, exact or banded; standardised differences.

Conventions are those of the Python library tableone (Pollard et al. 2018, JAMIA Open 1:26): standard deviations with
n - 1, quartiles by linear interpolation, the standardised difference of two means over the root of the mean of both
variances, and that of two distributions by Yang and Dalton (2012, SAS Global Forum 335). It differs in one thing: a
level that neither group has is left out, where tableone has no result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Years in an age group.
BAND = 10
#: Of fewer persons than these no mean or median is shown where counts are rounded.
FEWEST = 10
#: A determinant below this is that of distributions whose covariances cannot be inverted.
_SINGULAR = 1e-12


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a number: how many persons have it, mean, standard deviation and quartiles."""

    n: int
    mean: float | None
    sd: float | None
    q1: float | None
    median: float | None
    q3: float | None


def summarize_bands(bands: Mapping[int, int], width: int = BAND) -> Summary:
    """Summarize whole numbers that are known only as counts by band, named by its first number: ages by decade.

    They are taken to be spread evenly over the band. From rounded counts, the result discloses no more than these do.
    """
    n = sum(bands.values())
    if not n:
        return Summary(0, None, None, None, None, None)
    # Whole years: the middle of 50 to 59 is 54.5.
    mean = sum((first + (width - 1) / 2) * count for first, count in bands.items()) / n
    squares = sum((first + (width - 1) / 2 - mean) ** 2 * count for first, count in bands.items())
    spread = (width**2 - 1) / 12
    sd = math.sqrt(squares / (n - 1) + spread) if n > 1 else None
    q1, median, q3 = (_interpolate(bands, n * share, width) for share in (0.25, 0.5, 0.75))
    return Summary(n, mean, sd, q1, median, q3)


def _interpolate(bands: Mapping[int, int], place: float, width: int) -> float:
    before = 0
    found = 0.0
    for first, count in sorted(bands.items()):
        if count and before < place:
            found = first - 0.5 + width * min(1.0, (place - before) / count)
        before += count
    return found


def compare_means(first: Summary | None, second: Summary | None) -> float | None:
    """The standardised difference of two means, second less first; None if it is not defined."""
    if first is None or second is None or first.mean is None or second.mean is None:
        return None
    if first.sd is None or second.sd is None or not (first.sd or second.sd):
        return None
    return (second.mean - first.mean) / math.sqrt((first.sd**2 + second.sd**2) / 2)


def compare_shares(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The standardised difference of two distributions over the same levels, as counts or shares, never negative.

    None if it is not defined: a group is empty, or the groups have no level in common that varies.
    """
    n1, n2 = sum(first), sum(second)
    if not n1 or not n2:
        return None
    shares = [(a / n1, b / n2) for a, b in zip(first, second, strict=True) if a or b][1:]
    if not shares:
        return 0.0
    difference = [b - a for a, b in shares]
    covariance = [
        [
            (a * (1 - a) + b * (1 - b)) / 2 if row == column else -(a * shares[column][0] + b * shares[column][1]) / 2
            for column in range(len(shares))
        ]
        for row, (a, b) in enumerate(shares)
    ]
    solution = _solve(covariance, difference)
    if solution is None:
        return None if any(abs(d) > _SINGULAR for d in difference) else 0.0
    return math.sqrt(max(0.0, sum(d * x for d, x in zip(difference, solution, strict=True))))


def _solve(matrix: Sequence[Sequence[float]], values: Sequence[float]) -> list[float] | None:
    """Solve a system of linear equations by Gaussian elimination; None if it is singular."""
    rows = [[*row, value] for row, value in zip(matrix, values, strict=True)]
    n = len(rows)
    for place in range(n):
        pivot = max(range(place, n), key=lambda row: abs(rows[row][place]))
        if abs(rows[pivot][place]) < _SINGULAR:
            return None
        rows[place], rows[pivot] = rows[pivot], rows[place]
        for row in range(n):
            if row != place:
                factor = rows[row][place] / rows[place][place]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[place], strict=True)]
    return [rows[place][n] / rows[place][place] for place in range(n)]
