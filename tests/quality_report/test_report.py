"""The quality report: one page without anything to load, with the true counts, the same bytes, and nobody's values."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, copy_lake, start_lake, write_objects
from hypothesis import given
from hypothesis import strategies as st
from pages import Page

import warehouse
from warehouse.errors import LakeError, UsageError
from warehouse.lake import location
from warehouse.lake import store as lakes
from warehouse.quality_report import bar_charts, svg
from warehouse.quality_report.model import Studies, to_percent
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

#: A centre as a page must not trust it, and characters that no SVG can hold.
HOSTILE = "<script>alert(1)</script> & \"Sons' {{ 7 * 7 }}]]></svg><img src=http://evil.example/x>\x01 \u202eNHS Trust"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report") / "bucket"
    make_bucket(root, 60, "published", 3)
    rejected = {"training/Covid9001/data/2020-05-01/data.json": "[not json"}
    write_objects(root, rejected)
    return root


@pytest.fixture(scope="module")
def lake(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(start_lake(tmp_path_factory.mktemp("lake") / "lake"))
    warehouse.refresh(str(bucket), folder)
    return folder


@pytest.fixture(scope="module")
def truth(bucket: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bucket / "truth.json").read_text())
    return found


@pytest.fixture(scope="module")
def page(lake: str, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    with warehouse.open(lake) as wh:
        wh.report(path, suppress=0)
    return Page(path)


def record(patient: str, centre: str, **fields: object) -> dict[str, bytes | str]:
    content = {"Pseudonym": patient, "SubmittingCentre": centre, "Date of admission": "31/01/2020", **fields}
    return {f"training/{patient}/data/2020-03-01/data.json": json.dumps(content)}


def report_of(objects: dict[str, bytes | str], root: Path, suppress: int = 0) -> Page:
    write_objects(root / "bucket", objects)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    with warehouse.open(str(root / "lake")) as wh:
        wh.report(root / "report.html", suppress=suppress)
    return Page(root / "report.html")


def loads_nothing(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "image", "iframe", "object", "embed", "base", "form", "use", "a:href"}
    for _, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")} - {"on"}
        assert not {"src", "srcset", "xlink:href", "data", "action"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\((?!#)|@import", page.source)


@pytest.mark.slow
def test_the_page_is_one_file_that_loads_and_runs_nothing(page: Page) -> None:
    loads_nothing(page)
    assert set(re.findall(r"https?:[^\"' <]*", page.source)) == {"http://www.w3.org/2000/svg"}
    policy = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert len(page.source) < 1_000_000


def test_its_counts_are_true(page: Page, truth: dict[str, Any], bucket: Path) -> None:
    kinds: dict[str, set[str]] = {"data": set(), "status": set()}
    for line in (bucket / "truth_clinical.jsonl").read_text().splitlines():
        row = json.loads(line)
        kinds[row["kind"]].add(row["patient_id"])
    counts = page.counts()
    for name, known in (
        ("patients", "patients"),
        ("studies", "studies"),
        ("series", "series"),
        ("images", "image_json"),
    ):
        assert counts[name] == truth[known]
    assert counts["positive"] == len(kinds["data"])
    assert counts["negative"] == len(kinds["status"] - kinds["data"])
    assert counts["clinical files"] == truth["clinical_json"]
    assert counts["rejects"] == 1
    assert ["clinical", "1"] in [row[:2] for row in page.table("kind", "objects")]
    rules = page.table("rule", "effect")
    assert {row[0]: int(row[2].replace(",", "")) for row in rules} == truth["clinical_issues"]
    by_centre = page.table("centre", *[head for head in ("positive", "negative") if counts[head]])
    assert sum(int(cell or 0) for row in by_centre for cell in row[1:-1]) == truth["patients"]
    assert sum(int(row[-1]) for row in by_centre) == truth["patients"]


@pytest.mark.slow
def test_the_tables_agree_with_the_views(page: Page, lake: str) -> None:
    with warehouse.open(lake) as wh:
        checks = {result.check.name: result.n_rows for result in wh.check()}
        filled = wh.sql(
            "select upper(submitting_centre), count(troponin_i), count(*) "
            "from clinical where kind = 'data' group by all"
        ).fetchall()
        studies = wh.sql("select strftime(StudyDate, '%Y-%m'), count(*) from studies group by all").fetchall()
    assert {row[1]: int(row[3].replace(",", "")) for row in page.table("result", "check")} == checks
    heads = next(row for row in page.rows if row[:1] == ["field"])
    cells = next(row for row in page.rows if row[:1] == ["troponin_i"])
    shown = {centre.upper(): cell for centre, cell in zip(heads[1:], cells[1:], strict=True) if cell}
    expected: dict[str, list[int]] = {}
    for centre, *numbers in filled:
        name = " ".join(centre.split())
        expected[name] = [a + b for a, b in zip(expected.get(name, [0, 0]), numbers, strict=True)]
    assert shown == {name: f"{n_filled}/{n}" for name, (n_filled, n) in expected.items()}
    by_month = {row[0]: sum(int(cell or 0) for cell in row[1:]) for row in page.table("month")}
    assert all(by_month[month] >= n for month, n in studies)
    assert any("troponin_i" in tooltip for tooltip in page.tooltips)


@pytest.mark.slow
def test_it_obeys_day_and_group_and_names_them(lake: str, truth: dict[str, Any], tmp_path: Path) -> None:
    day, expected = next((day, found) for day, found in truth["as_of"].items() if found["patients"])
    with warehouse.open(lake) as wh:
        wh.as_of(day).report(tmp_path / "day.html", suppress=0)
        wh.group("validation").report(str(tmp_path / "group.html"))
    page = Page(tmp_path / "day.html")
    assert f"<dt>As of</dt><dd>{day}</dd>" in page.source
    counts = page.counts()
    assert counts["positive"] + counts["negative"] == expected["patients"]
    assert counts["images"] == expected["images"]
    page = Page(tmp_path / "group.html")
    assert "<dt>Group</dt><dd>validation</dd>" in page.source
    assert set(page.counts().values()) == {0}


def test_no_patient_is_on_the_page(page: Page, lake: str) -> None:
    assert not re.search(r"Covid\d", page.source)
    assert "9001" not in page.source
    with warehouse.open(lake) as wh:
        identifiers = wh.sql("select distinct unnest([StudyInstanceUID, SOPInstanceUID, key]) from images").fetchall()
    assert identifiers
    assert not [name for (name,) in identifiers if name in page.source]


@pytest.mark.slow
def test_the_same_snapshot_gives_the_same_bytes(page: Page, lake: str, tmp_path: Path, here: Chest) -> None:
    done = here("report", "--lake", lake, "--suppress", 0, "-o", tmp_path / "other.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert "group training, snapshot" in done.stdout
    assert (tmp_path / "other.html").read_text() == page.source


@pytest.mark.slow
def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    objects = {
        **record("Covid1", HOSTILE),
        **record("Covid2", HOSTILE.replace("\x01", "\x02")),
        **record("Covid3", "Leeds  Teaching Hospitals"),
        **record("Covid4", "LEEDS TEACHING HOSPITALS "),
        **record("Covid5", "Leeds Teaching Hospitals"),
        **record("Covid6", "\u00a0"),
        **record("Covid7", "(centre not named)"),
    }
    page = report_of(objects, tmp_path)
    loads_nothing(page)
    shown = HOSTILE.replace("\x01", "\N{REPLACEMENT CHARACTER}").replace("\u202e", "\N{REPLACEMENT CHARACTER}")
    centres = {row[0]: row[1] for row in page.table("centre", "positive")}
    assert centres == {
        shown: "1",
        f"{shown} [2]": "1",
        "Leeds Teaching Hospitals": "3",
        "(centre not named)": "1",
        "(centre not named) [2]": "1",
    }
    assert f"date_other_order, {shown}: values 1, patients 1, values for 100 files 100.0" in page.tooltips


@pytest.mark.slow
def test_an_empty_lake(tmp_path: Path) -> None:
    page = report_of({"readme.txt": "x"}, tmp_path)
    loads_nothing(page)
    assert "No studies." in page.text
    assert "No clinical records." in page.text
    assert set(page.counts().values()) == {0}


def test_what_goes_wrong_is_one_line(lake: str, tmp_path: Path, here: Chest) -> None:
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "none" / "report.html", tmp_path / "folder"):
        done = here("report", "--lake", lake, "-o", target)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"chest: {target} cannot be written: ")
        assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    done = here("report", "--lake", lake, "-o", tmp_path / "r.html", "--as-of", "yesterday")
    assert done.returncode == 2
    assert "is not a day" in done.stderr
    with warehouse.open(lake) as wh, pytest.raises(UsageError, match="cannot be written"):
        wh.report(tmp_path / "none" / "report.html")


@pytest.mark.slow
def test_a_snapshot_that_an_older_version_published(tmp_path: Path) -> None:
    write_objects(tmp_path / "bucket", record("Covid1", "Leeds"))
    folder = str(start_lake(tmp_path / "lake"))
    warehouse.refresh(str(tmp_path / "bucket"), folder)
    with lakes.open_writer(location.parse_address(folder), Settings()) as con:
        lakes.transact(con, "older", lambda: con.execute("drop view completeness"), published=True)
    with warehouse.open(folder) as wh, pytest.raises(LakeError, match="no view completeness"):
        wh.report(tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.fixture(scope="module")
def lake_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of one record, of which tests take a copy."""
    root = tmp_path_factory.mktemp("one")
    write_objects(root / "bucket", record("Covid1", "Leeds"))
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "select * replace ('nowhere' as centre) from ({body})",
        "select * replace ('of no kind' as covid_status) from ({body})",
        "select * exclude (covid_status) from ({body})",
    ],
)
def test_views_of_somebody_else_that_do_not_fit_are_one_line(
    change: str, tmp_path: Path, lake_of_one: Path, here: Chest
) -> None:
    folder = str(copy_lake(lake_of_one, tmp_path / "lake"))
    with lakes.open_writer(location.parse_address(folder), Settings()) as con:
        query = "select sql from duckdb_views() where view_name = 'patients' and database_name = ?"
        ((sql,),) = con.execute(query, [lakes.ALIAS]).fetchall()
        body = re.split(r"\bas\b", sql, maxsplit=1, flags=re.IGNORECASE)[1].rstrip("; \n")
        made = f"create or replace view {lakes.ALIAS}.patients as {change.format(body=body)}"
        lakes.transact(con, "theirs", lambda: con.execute(made), published=True)
    for words in (("report", "-o", tmp_path / "report.html"), ("status",), ("check",)):
        done = here(*words, "--lake", folder)
        assert done.returncode == 2 or words[0] != "report", done.stderr
        assert done.stderr.count("\n") <= 1
    assert not (tmp_path / "report.html").exists()


@given(st.integers(1, 3000), st.data())
def test_100_and_0_per_cent_mean_all_and_none(n_records: int, data: st.DataObject) -> None:
    n_filled = data.draw(st.integers(0, n_records))
    share = to_percent(n_filled, n_records)
    assert (share == 0) == (n_filled == 0)
    assert (share == 100) == (n_filled == n_records)
    assert abs(share - 100 * n_filled / n_records) <= 1


@given(
    st.dictionaries(st.dates(date(1960, 1, 1), date(2100, 1, 1)).map(lambda d: d.replace(day=1)), st.integers(1, 99))
)
def test_the_chart_of_studies_shows_the_four_years_with_most(months: dict[date, int]) -> None:
    def place(month: date) -> int:
        return 12 * month.year + month.month

    span = bar_charts.find_shown_months([Studies(month, "CT", n) for month, n in months.items()])
    if not months:
        assert span is None
        return
    assert span is not None
    assert set(span) <= set(months)
    assert place(span[1]) - place(span[0]) < 48
    most = max(sum(n for m, n in months.items() if 0 <= place(m) - place(first) < 48) for first in months)
    assert sum(n for month, n in months.items() if span[0] <= month <= span[1]) == most


@given(
    st.sets(st.sampled_from(["Leeds", "Leeds NHS Trust", "Leeds nhs trust", "Leeds NHS Trust NHS Trust", "Bath", ""]))
)
def test_short_names_stay_apart(centres: set[str]) -> None:
    assert len(set(svg.shorten_names(centres).values())) == len(centres)


def test_characters_that_xml_has_not_end_no_process() -> None:
    """vl-convert aborts on them; rows of somebody else's lake may have them in any column."""
    chart = svg.build_chart([{"rule": "a\x1b\0\ufffe\ud800b\t", "n": 1}], width=100).mark_bar()
    drawn = svg.render_svg("n", chart.encode(x="n:Q", y="rule:N", tooltip="rule:N"), "Rules")
    assert "a\ufffd\ufffd\ufffd\ufffdb" in drawn
