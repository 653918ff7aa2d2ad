"""Small numbers of the quality report: none comes out on the page, in its charts, or by reckoning with what is shown.

Figures are counted from a lake, or made up where a test is about few of them.
"""

import re
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path

import pytest
from conftest import Chest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import Page, drawn
from test_suppress import LEAST, fitting

import warehouse
from warehouse.quality import counting, hiding, page
from warehouse.quality.figures import NO_RECORD, STATUSES, Figures, percent
from warehouse.sample import make

HIDDEN = "–"
#: A number from 1 to 4 that stands by itself: no part of a date, of a name or of per cents.
SMALL = re.compile(r"(?<![\w.,-])[1-4](?![\w.,-])")
#: Words of the legends and of hidden checks that name a range.
RANGES = re.compile(r"\b1 to 4\b|\bunder 1\b")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("hiding")
    make(root / "bucket", 60, "published", 3)
    warehouse.refresh(str(root / "bucket"), str(root / "lake"))
    return str(root / "lake")


@pytest.fixture(scope="module")
def true(lake: str) -> Figures:
    with warehouse.open(lake) as wh:
        return counting.collect(wh)


@pytest.fixture(scope="module")
def report(lake: str, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    with warehouse.open(lake) as wh:
        wh.report(path)
    return Page(path)


def told(page: Page) -> list[str]:
    """All that the page says in numbers of people and their data; rejects count files, meanings of rules are prose."""
    rule = next(row[1] for row in page.rows if row[0] == "centre" and row[1] not in STATUSES)
    grids = [page.table("month"), page.table("centre", "positive"), page.table("field"), page.table("centre", rule)]
    lists = [[row[2:5] for row in page.table("rule")], [row[3:4] for row in page.table("result")]]
    cells = [cell for rows in (*grids, *lists) for row in rows for cell in row]
    tiles = re.findall(r'<dd(?: class="detail")?>(.*?)</dd>', page.source.split('class="tiles"')[1].split("</dl>")[0])
    return [*cells, *page.marks, *page.tooltips[1:], *tiles]


def counted(counts: dict[tuple[str, str], int], rows: list[list[str]], heads: list[str]) -> None:
    """Asserts that each cell of a table is true, hidden where it is small, and empty where there is none."""
    for row in rows:
        for head, cell in zip(heads, row[1:], strict=True):
            n = counts.get((row[0], head))
            assert cell in ("" if n is None else f"{n:,}", HIDDEN)
            assert (cell == HIDDEN) or n is None or not 0 < n < 5
            assert (cell == "") == (n is None)


def test_no_small_number_is_on_the_page(report: Page, true: Figures, tmp_path: Path) -> None:
    texts = told(report)
    assert len(texts) > 1000
    assert [text for text in texts if SMALL.search(RANGES.sub("", text))] == []
    (tmp_path / "all.html").write_text(page.render(true))
    assert len([text for text in told(Page(tmp_path / "all.html")) if SMALL.search(text)]) > 100, (
        "there is much to hide"
    )


def test_what_is_shown_is_true(report: Page, true: Figures) -> None:
    studies = {(f"{c.month:%Y-%m}", c.modality): c.n_studies or 0 for c in true.studies if c.month}
    studies |= {("all", name): n or 0 for name, n in true.modalities.items()}
    counted(studies, report.table("month"), sorted(true.modalities))
    patients = {(c.centre, c.status): c.n_patients or 0 for c in true.patients}
    patients |= {(name, "all"): n or 0 for name, n in true.centres.items()}
    counted(patients, report.table("centre", "positive"), [*STATUSES, "all"])
    rows = {row[1]: (row[0], row[3]) for row in report.table("result", "check")}
    assert {checked.check.name for checked in true.checks} == set(rows)
    for checked in true.checks:
        result, n = rows[checked.check.name]
        assert ("passed" in result) == (n == "0") == (checked.n_rows == 0)
        assert n in (f"{checked.n_rows:,}", "1 to 4", HIDDEN)
        assert n != "1 to 4" or checked.n_rows in range(1, 5)


def test_hidden_is_said_in_words_everywhere(report: Page) -> None:
    dashes = sum(cell == HIDDEN for row in report.rows for cell in row)
    named = [a for tag, a in report.elements if tag == "span" and a.get("aria-label") == "hidden"]
    assert dashes
    assert len(named) >= dashes
    assert all(a["title"] == "hidden" and a["role"] == "img" for a in named)
    about = [tooltip for tooltip in report.tooltips if "hidden" in tooltip]
    assert any(tooltip.startswith("troponin_i, ") for tooltip in about)
    assert any(re.fullmatch(r"CT, 20\d\d-\d\d: hidden", tooltip) for tooltip in about)
    assert not [tooltip for tooltip in about if tooltip.endswith(": hidden") and re.search(r": .*\d", tooltip)]
    assert not re.search(r"values from 0 to [1-4]\b", report.source), "nor does a scale tell one"
    assert "a count of 1 to 4" in " ".join(report.text.split())


def test_the_command_hides_by_default_and_obeys(lake: str, report: Page, chest: Chest, tmp_path: Path) -> None:
    assert chest("report", "--lake", lake, "-o", tmp_path / "five.html").returncode == 0
    assert (tmp_path / "five.html").read_text() == report.source, "the same bytes"
    with warehouse.open(lake) as wh:
        wh.report(tmp_path / "all.html", suppress=1000)
    assert set(Page(tmp_path / "all.html").counts()) == {"rejects"}, "every tile of people and their data is hidden"
    assert chest("report", "--lake", lake, "--suppress", -1, "-o", tmp_path / "no.html").returncode == 2


PLACES = [*product(["A", "B"], ["positive", "negative"]), (NO_RECORD, "none")]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(PLACES), st.integers(1, 4), min_size=1))
def test_no_hidden_number_of_patients_can_be_worked_out(cells: dict[tuple[str, str], int]) -> None:
    known = hiding.suppressed(drawn(cells), LEAST)
    shown = {(count.centre, count.status): count.n_patients for count in known.patients}
    seen = [[*(shown.get((name, status), 0) for status in STATUSES), known.centres[name]] for name in known.centres]
    totals = known.totals
    seen.append([totals.n_positive, totals.n_negative, totals.n_without_record, totals.n_patients])
    for place, values in fitting(seen, 5).items():
        assert len(values) > 1, f"{place} of {seen} must be {values}"


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from([date(2020, 3, 1), date(2020, 4, 1), None]), st.sampled_from(["CR", "CT"])),
        st.integers(1, 4),
        min_size=1,
    )
)
def test_no_hidden_number_of_studies_can_be_worked_out(studies: dict[tuple[date | None, str], int]) -> None:
    known = hiding.suppressed(drawn({}, studies), LEAST)
    shown = {(count.month, count.modality): count.n_studies for count in known.studies}
    months = [*dict.fromkeys(count.month for count in known.studies)]
    seen: list[list[int | None]] = []
    for month in months:
        total = known.totals.n_undated_studies if month is None else None
        seen.append([*(shown.get((month, modality), 0) for modality in known.modalities), total])
    seen.append([*known.modalities.values(), known.totals.n_studies])
    for (i, j), values in fitting(seen, 5).items():
        is_of_month = j == len(known.modalities) and i < len(months) and months[i] is not None
        assert len(values) > 1 or is_of_month, f"{i, j} of {seen} must be {values}"


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from("ABCDEF"), st.tuples(st.integers(1, 9), st.integers(0, 6)), min_size=1))
def test_no_hidden_repairs_can_be_worked_out_from_the_rule(counts: dict[str, tuple[int, int]]) -> None:
    repairs = {(centre, "date_serial"): (n + more, n) for centre, (n, more) in counts.items()}
    known = hiding.suppressed(drawn({("A", "positive"): 100, ("B", "positive"): 100}, repairs=repairs), 5)
    rule, hidden = known.rules[0], [count.centre for count in known.repairs if count.step is None]
    assert {centre for centre, (n, _) in counts.items() if n < 5} <= set(hidden)
    assert all((count.n_values, count.n_patients, count.n_files) == (None, None, None) for count in known.repairs)
    for total, place in ((rule.n_values, 0), (rule.n_patients, 1)):
        assert total is None or total >= 5
        if total is not None and hidden:
            assert len(hidden) > 1
            assert sum(repairs[centre, "date_serial"][place] for centre in hidden) > len(hidden), "else each is 1"


@given(st.integers(1, 60), st.data())
def test_a_share_is_shown_in_steps_and_tells_no_few(n_records: int, data: st.DataObject) -> None:
    n_filled = data.draw(st.integers(0, n_records))
    known = hiding.suppressed(drawn({("A", "positive"): n_records}, filled={"A": (n_filled, n_records)}), 5)
    cell = known.completeness[0]
    few = n_records < 5 or 0 < n_filled < 5 or 0 < n_records - n_filled < 5
    assert (cell.n_filled, cell.n_records) == (None, None)
    assert cell.percent is None if few else cell.percent == percent(n_filled, n_records, 5)


def test_a_share_does_not_tell_how_many_patients_a_centre_hides() -> None:
    # 2 of B are hidden, and with them those of A, which 13 would tell; 45 % of A can but be 5 of 11.
    cells = {("A", "positive"): 11, ("B", "positive"): 2}
    known = hiding.suppressed(drawn(cells, filled={"A": (5, 11)}), 5)
    assert [count.n_patients for count in known.patients] == [None, None]
    assert known.completeness[0].percent is None
    # Of 40 patients or 41 a half is a half.
    known = hiding.suppressed(drawn({**cells, ("A", "positive"): 40}, filled={"A": (20, 40)}), 5)
    assert [count.n_patients for count in known.patients] == [None, None]
    assert known.completeness[0].percent == 50
    # That 5 patients were repaired says that there are 5: at most that many where 6 are A and B together.
    repairs = {("A", "date_serial"): (9, 5)}
    known = hiding.suppressed(drawn({("A", "positive"): 5, ("B", "positive"): 1}, repairs=repairs), 5)
    assert known.repairs[0].step is None


def test_a_place_in_an_order_tells_nothing() -> None:
    cells = {("X", "positive"): 30, ("M", "positive"): 3, ("A", "positive"): 20, ("B", "positive"): 4}
    known = hiding.suppressed(drawn(cells), 5)
    assert [count.centre for count in known.patients] == ["X", "A", "B", "M"]
    repairs = {("A", "date_embedded"): (3, 3), ("A", "date_serial"): (4, 4), ("A", "unit_unknown"): (9, 9)}
    known = hiding.suppressed(drawn(cells, repairs=repairs), 5)
    assert [rule.rule for rule in known.rules] == ["unit_unknown", "date_embedded", "date_serial"]


def test_a_check_does_not_tell_what_is_hidden_elsewhere() -> None:
    cells = {("A", "positive"): 50, ("A", "negative"): 30, (NO_RECORD, "none"): 3}
    found = {
        "images_without_clinical": 3,
        "negative_with_positive_result": 28,  # all but 2
        "death_before_admission": 12,
        "intubation_without_itu": 4,
        "rows_twice": 0,
    }
    known = hiding.suppressed(drawn(cells, found=found), 5)
    assert known.totals.n_without_record is None
    shown = {checked.check.name: (checked.n_rows, checked.is_small, checked.has_rows) for checked in known.checks}
    assert shown == {
        "images_without_clinical": (None, False, True),
        "negative_with_positive_result": (None, False, True),
        "death_before_admission": (12, False, True),
        "intubation_without_itu": (None, True, True),
        "rows_twice": (0, False, False),
    }
    assert [checked.is_failed for checked in known.checks] == [False, True, True, False, False]


def test_every_share_of_hidden_figures_can_be_drawn(tmp_path: Path) -> None:
    cells = {("A", "positive"): 1, ("B", "negative"): 2}
    months: dict[tuple[date | None, str], int] = {(date(2020, 3, 1), "CT"): 1, (None, "CT"): 2}
    figures = drawn(cells, months, {("A", "date_serial"): (1, 1)}, {"A": (1, 1)}, {"rows_twice": 1})
    (tmp_path / "all.html").write_text(page.render(hiding.suppressed(figures, 5)))
    made = Page(tmp_path / "all.html")
    assert made.counts() == {"clinical files": 1000, "series": 1000, "images": 1000, "rejects": 0}
    assert {cell for row in made.table("centre", "positive") for cell in row[1:]} == {HIDDEN, ""}
    assert "1 of 1 checks failed" in made.text
    assert hiding.suppressed(figures, 1) == figures
    # A count from 1 to 1 would be told by saying so.
    (tmp_path / "two.html").write_text(page.render(hiding.suppressed(figures, 2)))
    assert [row[3] for row in Page(tmp_path / "two.html").table("result", "check")] == [HIDDEN]
    assert page.render(hiding.suppressed(replace(figures, patients=[], centres={}), 5))
