"""Hides small numbers, and with them as many others as it takes that none of them can be worked out again.

A count from 1 to least - 1 is hidden; a count of 0 is shown, since it speaks of nobody. Nothing here knows of cohorts.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_Place = tuple[int, int]


def is_small(count: int, least: int) -> bool:
    """Whether a count must not be shown."""
    return 0 < count < least


def chain(counts: Sequence[int], after: Sequence[int | None], least: int) -> list[bool]:
    """Which counts of steps that narrow each other may be shown; `after` has the place of the step before, if any.

    A step is shown when its count is not small and differs from the last step shown before it by nothing or by no
    small number: what lies between two steps that are shown is what a reader can subtract. The last step of a
    chain is worth more than one in the middle, so it is shown first.
    """
    shown = [False] * len(counts)

    def before(place: int) -> list[int]:
        way = []
        at = after[place]
        while at is not None:
            way.append(at)
            at = after[at]
        return way

    ways = [before(place) for place in range(len(counts))]
    ends = [place for place in range(len(counts)) if place not in after]
    for place in [*ends, *(p for p in range(len(counts)) if p not in ends)]:
        shown[place] = not is_small(counts[place], least)
        if not all(
            _tell_nothing(counts, shown, [p, *ways[p]], least) for p in range(len(counts)) if place in (p, *ways[p])
        ):
            shown[place] = False
    return shown


def _tell_nothing(counts: Sequence[int], shown: Sequence[bool], way: Sequence[int], least: int) -> bool:
    """Whether no two steps shown on a way, one after the other, differ by a small number."""
    seen = [counts[place] for place in way if shown[place]]
    return not any(is_small(abs(a - b), least) for a, b in pairwise(seen))


@dataclass(frozen=True, slots=True)
class Table:
    """A table of counts with its margins, of which None is hidden. Rows and columns go by the order of their names."""

    rows: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], int | None]
    row_totals: dict[str, int | None]
    column_totals: dict[str, int | None]
    total: int | None


def table(
    rows: Sequence[str],
    columns: Sequence[str],
    counts: Mapping[tuple[str, str], int],
    least: int,
    *,
    also: Collection[tuple[str, str]] = (),
    unshown: Collection[str] = (),
) -> Table:
    """A table of counts by row and column as it may be shown, margins included; least 0 or 1 hides nothing.

    Whoever knows every number shown, and that every number hidden is at least 1, can work out none of them. `also` are
    cells, not of 0, that are to be hidden for another reason than that they are small; `unshown` are rows whose totals
    are not shown anyway, so that they tell nothing and need not be kept from being worked out.
    """
    inner = [[counts.get((r, c), 0) for c in columns] for r in rows]
    whole = [[*row, sum(row)] for row in inner]
    whole.append([sum(column) for column in zip(*whole, strict=True)] if whole else [0] * (len(columns) + 1))
    must = {(i, j) for i, row in enumerate(whole) for j, n in enumerate(row) if is_small(n, least)}
    must |= {(rows.index(r), columns.index(c)) for r, c in also}
    free = {(i, len(columns)) for i, r in enumerate(rows) if r in unshown and whole[i][-1]} if least > 1 else set()
    hidden = _hidden(whole, must, free)
    shown = [[None if (i, j) in hidden else n for j, n in enumerate(row)] for i, row in enumerate(whole)]
    return Table(
        list(rows),
        list(columns),
        {(r, c): shown[i][j] for i, r in enumerate(rows) for j, c in enumerate(columns)},
        {r: shown[i][-1] for i, r in enumerate(rows)},
        {c: shown[-1][j] for j, c in enumerate(columns)},
        shown[-1][-1],
    )


def _hidden(whole: list[list[int]], must: set[_Place], free: set[_Place]) -> set[_Place]:
    """The places to hide in a table whose last row and column are its totals; of `free` ones whoever can may tell."""
    hidden = must | free
    # What cannot be told stays so as more is hidden, so that none is asked about again.
    safe = set(free)
    while asked := sorted(hidden - safe):
        told = next((place for place in asked if _can_be_told(whole, hidden, place)), None)
        safe.update(asked[: asked.index(told)] if told else asked)
        if told:
            more = _companion(whole, hidden, told)
            if more is None:
                break
            hidden.add(more)
    return hidden


def _companion(whole: list[list[int]], hidden: set[_Place], told: _Place) -> _Place | None:
    """The place to hide with one that could be told: the smallest that closes a circle, cells before totals.

    A circle that lets the number be another comes first; where one is too narrow for that, more has to be hidden yet.
    """
    last = (len(whole) - 1, len(whole[0]) - 1)

    def cost(place: _Place) -> tuple[bool, int, _Place]:
        return place[0] == last[0] or place[1] == last[1], whole[place[0]][place[1]], place

    open_ = [(i, j) for i, row in enumerate(whole) for j, n in enumerate(row) if n and (i, j) not in hidden]
    of_row = _linked(hidden - {told}, ("row", told[0]))
    of_column = _linked(hidden - {told}, ("column", told[1]))
    closing = [
        at
        for at in open_
        if any(("row", at[0]) in a and ("column", at[1]) in b for a, b in ((of_row, of_column), (of_column, of_row)))
    ]
    for at in sorted(closing, key=cost):
        if not _can_be_told(whole, hidden | {at}, told):
            return at
    near = [at for at in open_ if at[0] == told[0] or at[1] == told[1]]
    choice = closing or near or open_
    return min(choice, key=cost) if choice else None


def _linked(hidden: set[_Place], start: tuple[str, int]) -> set[tuple[str, int]]:
    """The rows and columns that hidden numbers link with one of them."""
    found, ahead = {start}, [start]
    while ahead:
        kind, line = ahead.pop()
        for i, j in hidden:
            if (i if kind == "row" else j) == line:
                other = ("column", j) if kind == "row" else ("row", i)
                if other not in found:
                    found.add(other)
                    ahead.append(other)
    return found


def _can_be_told(whole: list[list[int]], hidden: set[_Place], place: _Place) -> bool:
    """Whether a hidden number can have but one value: neither one more nor one less fits what is shown."""
    return not any(_fits(whole, hidden, place, by) for by in (1, -1))


def _fits(whole: list[list[int]], hidden: set[_Place], place: _Place, by: int) -> bool:
    """Whether the hidden numbers can be chosen so that this one is one more (or less), each at least 1.

    Rows and columns are the nodes of a graph, hidden numbers its edges: a change is carried round a circle, adding
    on one edge what it takes on the next. Totals count against their row and column. Whole numbers suffice, as in any
    transport problem.
    """
    if by < 0 and whole[place[0]][place[1]] < 2:
        return False
    last = (len(whole) - 1, len(whole[0]) - 1)

    def sign(at: _Place) -> int:
        return (-1 if at[0] == last[0] else 1) * (-1 if at[1] == last[1] else 1)

    def moves(at: _Place, step: int) -> bool:
        change = sign(at) * step
        return change > 0 or whole[at[0]][at[1]] >= 2

    # The signed table sums to 0 in each row and column: what place gains, its row must give, the next column gain …
    step = sign(place) * by
    seen = {("row", place[0])}
    ahead = deque(seen)
    while ahead:
        kind, line = ahead.popleft()
        for at in hidden - {place}:
            if kind == "row" and at[0] == line and moves(at, -step):
                following = ("column", at[1])
            elif kind == "column" and at[1] == line and moves(at, step):
                following = ("row", at[0])
            else:
                continue
            if following == ("column", place[1]):
                return True
            if following not in seen:
                seen.add(following)
                ahead.append(following)
    return False
