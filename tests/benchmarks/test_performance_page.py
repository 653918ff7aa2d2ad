"""docs/performance.md, its plots and the calculation in docs/scale.md are what the results of the benchmarks give."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import page, results, tables
from benchmarks.fits import Curve
from benchmarks.plots import draw_plots
from benchmarks.results import Part, Row

ROOT = Path(page.__file__).parent.parent


def test_the_page_is_what_the_results_give() -> None:
    for path, text in page.render_files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: make performance"


def test_every_result_is_shown_and_knows_its_run() -> None:
    template = (ROOT / "benchmarks/performance.md.in").read_text(encoding="utf-8")
    shown = set(re.findall(r'\{\{ (?:rows|pivot)\("(\w+)"', template)) | {"growth"}
    assert {path.stem for path in results.FOLDER.glob("*.json")} <= shown
    for name in results.list_parts():
        part = results.load_part(name)
        for row in part.rows:
            assert row.values, row
            facts = part.runs[row.run]
            assert "note" in facts or {"cores", "memory_gb", "kernel", "libraries", "load"} <= facts.keys()


def test_the_page_lists_each_plot_that_is_drawn() -> None:
    drawn = draw_plots(results.load_part("growth"))
    named = re.findall(r"\(images/(growth-[a-z]+\.svg)\)", page.Page().render())
    assert sorted(named) == sorted(drawn)


def test_a_row_replaces_the_one_of_its_name_and_place_and_keeps_all_values(tmp_path: Path) -> None:
    recorder = results.Recorder("made", folder=tmp_path)
    recorder.save([Row("seconds", "s", [3.0, 1.0, 2.0], "listing", [1.0, 2.0, 1.5], "ratio <= 1.3", {"objects": 10})])
    recorder.save([Row("seconds", "s", [9.0], at={"objects": 100})])
    recorder.save([Row("seconds", "s", [3.0, 1.0, 2.0, 8.0, 9.0], "listing", [2.0], "ratio <= 1.3", {"objects": 10})])
    part = results.load_part("made", tmp_path)
    assert [row.at["objects"] for row in part.rows] == [10, 100]
    assert part.rows[0].values == [3.0, 1.0, 2.0, 8.0, 9.0]
    assert len(part.runs) <= 2
    assert json.loads((tmp_path / "made.json").read_text())["part"] == "made"
    shown = tables.render_rows(part, part.rows[:1])
    assert "| 3 s (1–9) | 2 s: listing | 1.50 | ≤ 1.3, **not reached** | 5 |" in shown


@pytest.mark.parametrize(
    ("target", "values", "is_reached"),
    [
        ("ratio <= 1.5", [3.0], True),
        ("ratio <= 1.4", [3.0], False),
        ("value < 3", [3.0], False),
        ("value < 4 and ratio >= 2", [3.0], False),
        ("", [3.0], None),
    ],
)
def test_a_target_is_compared_with_medians(target: str, values: list[float], is_reached: bool | None) -> None:
    assert Row("seconds", "s", values, "theirs", [2.0, 1.0, 9.0], target).is_reached() is is_reached


def test_exponents_are_those_of_powers() -> None:
    curve = Curve(tuple((size, 3e-6 * size**1.25) for size in (10_000, 100_000, 1_000_000)))
    assert curve.exponent == pytest.approx(1.25)
    assert curve.extrapolate(100_000_000) == pytest.approx(3e-6 * 100_000_000**1.25)


def test_a_plot_has_a_line_for_each_refresh_with_its_exponent() -> None:
    rows = [
        Row("seconds", "s", [size / 1000, size / 900], at={"store": "process", "objects": size, "refresh": refresh})
        for size in (10_000, 100_000)
        for refresh in ("first", "nothing new")
    ]
    (drawn,) = draw_plots(Part("growth", {}, rows)).values()
    assert drawn.startswith("<svg")
    assert "first, in process: n^1.00" in drawn
    assert "nothing new, in process: n^1.00" in drawn
