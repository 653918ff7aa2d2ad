"""Small numbers: what is hidden cannot be worked out again, by whoever tries every table that fits what is shown."""

from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.cohorts import suppress

LEAST = 3
SHAPES = st.sampled_from([(1, 1), (1, 2), (2, 2), (2, 3), (3, 2), (3, 3)])


@st.composite
def tables(draw: st.DrawFn) -> list[list[int]]:
    n_rows, n_columns = draw(SHAPES)
    row = st.lists(st.integers(0, 4), min_size=n_columns, max_size=n_columns)
    return draw(st.lists(row, min_size=n_rows, max_size=n_rows))


def shown(cells: list[list[int]], least: int) -> list[list[int | None]]:
    """The table with its margins, as it is shown."""
    rows, columns = [f"r{i}" for i in range(len(cells))], [f"c{j}" for j in range(len(cells[0]))]
    counts = {(r, c): cells[i][j] for i, r in enumerate(rows) for j, c in enumerate(columns)}
    made = suppress.table(rows, columns, counts, least)
    body: list[list[int | None]] = [[*(made.cells[r, c] for c in columns), made.row_totals[r]] for r in rows]
    return [*body, [*(made.column_totals[c] for c in columns), made.total]]


def fitting(seen: list[list[int | None]], most: int) -> dict[tuple[int, int], set[int]]:
    """The values that each hidden number can have, by trying all: hidden cells from 1 on, totals what they sum to."""
    height, width = len(seen) - 1, len(seen[0]) - 1
    unknown = [(i, j) for i, j in product(range(height), range(width)) if seen[i][j] is None]
    values: dict[tuple[int, int], set[int]] = {}
    for guess in product(range(1, most + 1), repeat=len(unknown)):
        tried = [list(row) for row in seen]
        for (i, j), value in zip(unknown, guess, strict=True):
            tried[i][j] = value
        for row in tried[:-1]:
            row[-1] = sum(n or 0 for n in row[:-1])
        tried[-1] = [sum(row[j] or 0 for row in tried[:-1]) for j in range(width + 1)]
        if all(s is None or s == t for a, b in zip(seen, tried, strict=True) for s, t in zip(a, b, strict=True)):
            for i, j in product(range(height + 1), range(width + 1)):
                if seen[i][j] is None:
                    values.setdefault((i, j), set()).add(tried[i][j] or 0)
    return values


@settings(max_examples=60, deadline=None)
@given(tables())
def test_no_hidden_number_can_be_worked_out(cells: list[list[int]]) -> None:
    seen = shown(cells, LEAST)
    if sum(n is None for row in seen[:-1] for n in row[:-1]) > 6:
        return  # too many to try
    for place, values in fitting(seen, 5).items():
        assert len(values) > 1, f"{place} of {seen} must be {values}"


@settings(max_examples=60, deadline=None)
@given(tables())
def test_small_numbers_are_hidden_and_what_is_shown_is_true(cells: list[list[int]]) -> None:
    whole = [[*row, sum(row)] for row in cells]
    whole.append([sum(column) for column in zip(*whole, strict=True)])
    for row, true in zip(shown(cells, LEAST), whole, strict=True):
        for seen, count in zip(row, true, strict=True):
            assert seen in (None, count)
            assert seen is None or not 0 < seen < LEAST
    assert shown(cells, 1) == whole, "nothing is small enough"


@settings(max_examples=60, deadline=None)
@given(tables(), st.data())
def test_cells_hidden_for_another_reason_cannot_be_worked_out_either(
    cells: list[list[int]], data: st.DataObject
) -> None:
    rows, columns = [f"r{i}" for i in range(len(cells))], [f"c{j}" for j in range(len(cells[0]))]
    counts = {(r, c): cells[i][j] for i, r in enumerate(rows) for j, c in enumerate(columns)}
    also = data.draw(st.sets(st.sampled_from([place for place, n in counts.items() if n] or [("r0", "c0")])))
    if not all(counts[place] for place in also):
        return
    unshown = data.draw(st.sets(st.sampled_from(rows)))
    made = suppress.table(rows, columns, counts, LEAST, also=also, unshown=unshown)
    assert all(made.cells[place] is None for place in also)
    seen = [[*(made.cells[r, c] for c in columns), made.row_totals[r]] for r in rows]
    seen.append([*(made.column_totals[c] for c in columns), made.total])
    if sum(n is None for row in seen[:-1] for n in row[:-1]) > 6:
        return
    for (i, j), values in fitting(seen, 5).items():
        is_asked = j < len(columns) or i == len(rows) or rows[i] not in unshown
        assert len(values) > 1 or not is_asked, f"{i, j} of {seen} must be {values}"


def test_totals_that_are_not_shown_hide_nothing() -> None:
    rows, columns = ["a", "b", "c"], ["x", "y"]
    numbers = [3, 20, 3, 40, 50, 60]
    counts = {(r, c): numbers[2 * i + j] for i, r in enumerate(rows) for j, c in enumerate(columns)}
    made = suppress.table(rows, columns, counts, 5, unshown=rows)
    assert [place for place, n in made.cells.items() if n is None] == [("a", "x"), ("b", "x")]
    assert made.column_totals == {"x": 56, "y": 120}


def test_a_small_total_hides_the_total_that_tells_it_and_not_the_whole_table() -> None:
    cells = [[50, 40, 1, 2], [60, 45, 0, 3], [70, 30, 1, 5]]
    assert shown(cells, 5)[-1] == [180, 115, None, None, 307]
    assert shown(cells, 5)[1][0] == 60


def test_a_large_table_without_small_numbers_is_shown_whole() -> None:
    cells = [[10, 20], [30, 0]]
    assert shown(cells, 5) == [[10, 20, 30], [30, 0, 30], [40, 20, 60]]


def test_complementary_cells() -> None:
    assert shown([[3, 20], [30, 40]], 5) == [[None, None, 23], [None, None, 70], [33, 60, 93]]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_a_chain_tells_no_small_count_and_no_small_loss(numbers: list[int]) -> None:
    counts = sorted(numbers, reverse=True)
    after = [None, *range(len(counts) - 1)]
    told = [n for n, is_shown in zip(counts, suppress.chain(counts, after, 5), strict=True) if is_shown]
    assert not any(0 < n < 5 for n in told)
    assert not any(0 < a - b < 5 for a, b in pairwise(told))
    if counts[-1] == 0 or counts[-1] >= 5:
        assert told[-1] == counts[-1], "the answer is worth most"


def test_a_chain_with_a_small_loss() -> None:
    assert suppress.chain([100, 98, 50], [None, 0, 1], 5) == [True, False, True]
    assert suppress.chain([100, 60, 58], [None, 0, 1], 5) == [True, False, True]
    assert suppress.chain([100, 100, 3], [None, 0, 1], 5) == [True, True, False]
    assert suppress.chain([100, 98, 98, 50, 97], [None, 0, 1, 2, 0], 5) == [False, True, True, True, True]
