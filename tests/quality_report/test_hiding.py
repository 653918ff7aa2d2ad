"""The quality report with rounded counts: no other count comes out on the page or in its charts, and what is shown is
near the truth. Figures are counted from a lake, or made up where a test is about few of them.

That nothing can be reckoned back is tested in test_disclosure_control.py.
"""

import os
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from conftest import Chest, start_lake
from hypothesis import given
from hypothesis import strategies as st
from pages import Page, build_figures

import warehouse
from warehouse.cohorts.levels import NO_VALUE, round_levels_by
from warehouse.disclosure_control import find_unit, round_count
from warehouse.quality_report import html as page
from warehouse.quality_report import metrics, suppression
from warehouse.quality_report.model import NO_RECORD, NOT_NAMED, STATUSES, Figures
from warehouse.synthetic import make_bucket

BASE = 5
#: A number that stands by itself: no part of a date, of a name or of per cents.
NUMBER = re.compile(r"(?<![\w.,/-])(\d[\d,]*)(?![\w.-])")
#: Words that have numbers of another kind: ranges of legends, rates, shares, small counts.
OTHERS = re.compile(
    r"\b\d+ to \d+\b|\bunder \d+( %)?|\b\d+ or more\b|values for 100 files [\d.]+|\(\d+ %\)|\b\d+ %|\d+/\d+|20\d\d"
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("hiding")
    make_bucket(root / "bucket", 120, "published", 3)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return str(root / "lake")


@pytest.fixture(scope="module")
def true(lake: str) -> Figures:
    with warehouse.open(lake) as wh:
        return metrics.collect_metrics(wh)


@pytest.fixture(scope="module")
def report(lake: str, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    with warehouse.open(lake) as wh:
        wh.report(path)
    return Page(path)


def shown(page: Page) -> list[str]:
    """All numbers of people and their data; rejects count files, and per cents are no counts."""
    rule = next(row[1] for row in page.rows if row[0] == "centre" and row[1] not in STATUSES)
    grids = [page.table("month"), page.table("centre", "positive"), page.table("field"), page.table("centre", rule)]
    lists = [[row[2:-2] for row in page.table("rule")], [row[3:4] for row in page.table("result")]]
    cells = [cell for rows in (*grids, *lists) for row in rows for cell in row]
    tiles = re.findall(r'<dd(?: class="detail")?>(.*?)</dd>', page.source.split('class="tiles"')[1].split("</dl>")[0])
    bars = page.source.split('id="completeness"')[0]
    marks = re.findall(r"<text[^>]*>([^<]*)</text>", bars)
    return [*cells, *marks, *page.tooltips[1:], *tiles]


def odd(page: Page) -> list[str]:
    """What has a count that is not rounded."""
    texts = [OTHERS.sub("", text) for text in shown(page) for text in [text.replace("/", " of ")]]
    return [t for t in texts if any(int(n.replace(",", "")) % BASE for n in NUMBER.findall(t))]


@pytest.mark.slow
def test_every_count_on_the_page_is_rounded(report: Page, true: Figures, tmp_path: Path) -> None:
    assert len(shown(report)) > 300
    # One reject is a file, and stands on the last tile.
    assert [text for text in odd(report) if text.strip() != "1"] == []
    (tmp_path / "all.html").write_text(page.render_page(true))
    assert len(odd(Page(tmp_path / "all.html"))) > 100, "there is much to round"


@pytest.mark.slow
def test_what_is_shown_is_near_the_truth(report: Page, true: Figures) -> None:
    patients = {(c.centre, c.status): c.n_patients for c in true.patients}
    rows = report.table("centre", "positive")
    heads = next(row for row in report.rows if row[:2] == ["centre", "positive"])[1:-1]
    for row in rows:
        cells = [int(cell or 0) for cell in row[1:-1]]
        assert int(row[-1]) == sum(cells) > 0
        for status, cell in zip(heads, cells, strict=True):
            assert abs(cell - patients.get((row[0], status), 0)) < BASE
    counts = report.counts()
    assert counts["patients"] == sum(int(row[-1]) for row in rows)
    assert abs(counts["patients"] - true.totals.n_patients) < BASE
    assert counts["rejects"] == true.totals.n_rejects
    results = {row[1]: (row[0], row[3]) for row in report.table("result", "check")}
    for checked in true.checks:
        result, n = results[checked.check.name]
        assert ("passed" in result) == (checked.n_rows == 0) == (n == "0")
        if checked.n_patients is None:
            assert n in ("0", "–")
        elif checked.check.name == "images_without_clinical":  # as in the table of patients, which may be rounded up
            assert abs((int(n) if n.isdecimal() else 0) - checked.n_patients) < BASE
        else:
            assert (n == "under 5") == (0 < checked.n_patients < BASE)


@pytest.mark.slow
def test_the_page_states_that_counts_are_rounded(report: Page, lake: str, chest: Chest, tmp_path: Path) -> None:
    assert "rounded to multiples of 5 to protect individuals: 0 means 0 to 4" in " ".join(report.text.split())
    assert chest("report", "--lake", lake, "-o", tmp_path / "five.html").returncode == 0
    assert (tmp_path / "five.html").read_text() == report.source, "the same bytes"
    done = chest("report", "--lake", lake, "-o", tmp_path / "six.html", env=os.environ | {"CHEST_SUPPRESS": "1000"})
    assert done.returncode == 0, done.stderr
    counts = Page(tmp_path / "six.html").counts()
    assert {n for name, n in counts.items() if name != "rejects"} == {0}
    assert chest("report", "--lake", lake, "--suppress", -1, "-o", tmp_path / "no.html").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("n_patients", [1, 3, 4, 6, 11])
def test_a_page_on_a_handful(n_patients: int, tmp_path: Path) -> None:
    """Of fewer than five nothing is shown; of a few more, no number shows how many images each of them has."""
    make_bucket(tmp_path / "bucket", n_patients, "published", n_patients, stubs=True)
    warehouse.refresh(str(tmp_path / "bucket"), str(start_lake(tmp_path / "lake")))
    with warehouse.open(str(tmp_path / "lake")) as wh:
        wh.report(tmp_path / "page.html")
        each = wh.con.execute("select count(*) from lake.raw.objects group by patient_id").fetchall()
        true = metrics.collect_metrics(wh)
    made, exact = Page(tmp_path / "page.html"), true.totals
    counts = made.counts()
    unit = int(re.search(r"multiples of ([\d,]+), so that no number", made.text)[1].replace(",", ""))  # type: ignore[index]
    assert unit >= BASE * max(n for (n,) in each), "five patients have no more together"
    for name in ("clinical files", "studies", "series", "images"):
        assert counts[name] % unit == 0
    if exact.n_patients < BASE:
        assert {n for name, n in counts.items() if name != "rejects"} == {0}
        assert made.table("result", "check") == []
        for centre in true.centres:
            assert centre not in made.text
        for rule in true.rules:
            assert f"<code>{rule.rule}</code>" not in made.source
    else:
        assert counts["patients"] == exact.n_patients - exact.n_patients % BASE
        shown = {row[1]: row[3] for row in made.table("result", "check")}
        of = {checked.check.name: checked.n_patients for checked in true.checks}
        assert {n for name, n in shown.items() if of[name] is None} <= {"0", "–"}
        assert all(shown[name] == "under 5" for name, n in of.items() if n and n < BASE)


@given(st.integers(1, 400), st.integers(2, 60), st.integers(5, 12))
def test_dividing_by_the_images_of_each_discloses_no_small_number(n_patients: int, each: int, base: int) -> None:
    unit = find_unit(each, base)
    assert unit >= base * each
    assert unit == base * each or re.fullmatch("[125]0*", str(unit))
    fitting = [n for n in range(500) if round_count(n * each, unit) == round_count(n_patients * each, unit)]
    assert len(fitting) >= base or fitting[-1] == 499
    if n_patients < base:
        assert {*range(base)} <= {*fitting}


@given(st.integers(0, 60), st.data())
def test_a_share_is_shown_in_steps_of_the_base(n_records: int, data: st.DataObject) -> None:
    n_filled = data.draw(st.integers(0, n_records))
    known = suppression.suppress_counts(
        build_figures({("A", "positive"): n_records or 1}, filled={"A": (n_filled, n_records)} if n_records else {}),
        BASE,
    )
    shown = known.centres.get("A", 0)
    if shown < 2 * BASE:
        assert known.completeness == []
        return
    (cell,) = known.completeness
    assert cell.n_records == shown
    assert cell.n_filled == round_count(n_filled, BASE)


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=5), st.integers(0, 9), st.data())
def test_completeness_is_rounded_as_in_table_1(
    centres: list[tuple[int, int, int]], n_without: int, data: st.DataObject
) -> None:
    """Of a field of positive records: by the nearest share, 2 of three centres were left, beside a sum of 5 or 6."""
    cells = {(NO_RECORD, "none"): n_without, (NOT_NAMED, "positive"): data.draw(st.integers(0, 9))}
    levels: dict[tuple[str, str, str], int] = {(NO_VALUE, NO_VALUE, NO_VALUE): n_without}
    levels[NO_VALUE, NO_VALUE, "positive"] = cells[NOT_NAMED, "positive"]
    filled = {NOT_NAMED: (0, cells[NOT_NAMED, "positive"])}
    for name, (n_filled, n_lacking, n_negative) in zip("abcde", centres, strict=False):
        filled[name] = (n_filled, n_filled + n_lacking)
        cells |= {(name, "positive"): n_filled + n_lacking, (name, "negative"): n_negative}
        levels |= {("yes", name, "positive"): n_filled, (NO_VALUE, name, "positive"): n_lacking}
        levels[NO_VALUE, name, "negative"] = n_negative
    if not sum(n for n, _, _ in centres) or not sum(n for _, _, n in centres):
        return  # a field of all records, which is rounded as such
    known = suppression.suppress_counts(build_figures(cells, filled=filled), BASE)
    table1 = round_levels_by({place: n for place, n in levels.items() if n}, BASE)
    assert {cell.centre: cell.n_filled for cell in known.completeness} == {
        cell.centre: table1.cells.get(("yes", cell.centre), 0) for cell in known.completeness
    }


def test_the_order_of_rows_discloses_nothing() -> None:
    cells = {("X", "positive"): 30, ("M", "positive"): 14, ("A", "positive"): 20, ("B", "positive"): 16}
    known = suppression.suppress_counts(build_figures(cells), BASE)
    assert [(count.centre, count.n_patients) for count in known.patients] == [
        ("X", 30),
        ("A", 20),
        ("B", 15),
        ("M", 15),
    ]
    repairs = {("A", "date_embedded"): (13, 13), ("A", "date_serial"): (14, 14), ("A", "unit_unknown"): (19, 19)}
    known = suppression.suppress_counts(build_figures(cells, repairs=repairs), BASE)
    assert [rule.rule for rule in known.rules] == ["unit_unknown", "date_embedded", "date_serial"]


def test_a_check_does_not_disclose_what_is_hidden_elsewhere() -> None:
    cells = {("A", "positive"): 50, ("A", "negative"): 26, (NO_RECORD, "none"): 3}
    found = {
        "images_without_clinical": 3,
        "negative_with_positive_result": 26,
        "death_before_admission": 12,
        "intubation_without_itu": 4,
        "rows_twice": 0,
    }
    known = suppression.suppress_counts(build_figures(cells, found=found), BASE)
    assert known.totals.n_without_record == 0
    assert {c.check.name: (c.n_rows, c.has_rows) for c in known.checks} == {
        "images_without_clinical": (0, True),
        "negative_with_positive_result": (25, True),
        "death_before_admission": (10, True),
        "intubation_without_itu": (0, True),
        "rows_twice": (0, False),
    }
    assert [checked.is_failed for checked in known.checks] == [False, True, True, False, False]


def test_a_page_without_any_figures_left_is_rendered(tmp_path: Path) -> None:
    cells = {("A", "positive"): 1, ("B", "negative"): 2}
    months: dict[tuple[date | None, str], int] = {(date(2020, 3, 1), "CT"): 1, (None, "CT"): 2}
    figures = build_figures(cells, months, {("A", "date_serial"): (1, 1)}, {"A": (1, 1)}, {"rows_twice": 1})
    (tmp_path / "all.html").write_text(page.render_page(suppression.suppress_counts(figures, BASE)))
    made = Page(tmp_path / "all.html")
    assert made.counts()["patients"] == 0
    assert "Fewer than 5 patients: whatever was found would be known of a handful" in made.text
    assert "Checks are not shown" in made.text
    assert made.table("result", "check") == []
    assert "date_serial" not in made.text
    assert suppression.suppress_counts(figures, 0) == figures
    assert page.render_page(suppression.suppress_counts(replace(figures, patients=[], centres={}), BASE))
