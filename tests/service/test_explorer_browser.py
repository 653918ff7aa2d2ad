"""The explorer in Debian's browser, as people use it: by mouse, by keyboard, and without scripts."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import Watched, open_browser, open_tab
from served import Served

import warehouse
from warehouse.cohorts.parsing import parse
from warehouse.service.explorer.facets import FACETS, MISSING
from warehouse.service.explorer.reading import read_images, read_table
from warehouse.service.explorer.selection import Selection
from warehouse.service.explorer.table import FacetTable
from warehouse.service.preparing import Progress


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as running:
        yield running


@pytest.fixture(scope="module")
def table(served_lake: Path) -> FacetTable:
    with warehouse.open(served_lake) as wh:
        return read_table(wh, read_images(wh, Progress("")), Progress(""))


@pytest.fixture
def tab(browser: Any, served: Served, tokens: dict[str, str]) -> Iterator[Watched]:
    """The page for one who may see everything, with exact counts; it must load nothing from elsewhere."""
    with open_tab(browser, f"{served.address}/explore?exact=1&token={tokens['pixels']}") as watched:
        yield watched
    assert watched.elsewhere == []
    assert watched.errors == []


def count(table: FacetTable, selection: Selection) -> str:
    return f"{int(table.find_members(table.find_rows(selection)).sum()):,}"


def read_query(page: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


@pytest.mark.parametrize("name", [*FACETS])
def test_each_facet_filters_and_is_undone(name: str, tab: Watched, table: FacetTable) -> None:
    """A value is chosen by a click on its row or column; the count, the chips and the address change with it."""
    page = tab.page
    level = next(level for level in table.levels[name] if level != MISSING)
    chosen = Selection().toggle(name, level)
    page.locator(f'[data-key="{name} {level}"]').click()
    page.locator("#patients", has_text=re.compile(f"^{count(table, chosen)}$")).wait_for()
    page.locator(".chips").wait_for()
    page.wait_for_url("**?*=**")
    assert read_query(page)[name] == ([level] if name != "month" else [f"{level}..{level}"])
    page.go_back()
    page.locator("#patients", has_text=re.compile(f"^{table.n_patients}$")).wait_for()
    assert name not in read_query(page)


def test_the_keyboard_alone_chooses_and_removes(tab: Watched, table: FacetTable) -> None:
    page = tab.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator('[data-key="status positive"]').focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.locator(
        "#patients", has_text=re.compile(f"^{count(table, Selection().toggle('status', 'negative'))}$")
    ).wait_for()
    assert page.evaluate("document.activeElement.dataset.key") == "status negative"
    assert page.evaluate("document.activeElement.getAttribute('aria-checked')") == "true"
    page.keyboard.press("Space")
    page.locator("#patients", has_text=re.compile(f"^{table.n_patients}$")).wait_for()
    page.locator("#status", has_text="patients").wait_for(state="attached")


def test_months_are_chosen_as_a_range(tab: Watched, table: FacetTable) -> None:
    page = tab.page
    page.locator('[data-key="first"]').fill("2020-03")
    page.locator('[data-key="first"]').dispatch_event("change")
    page.wait_for_url("**month=2020-03*")
    page.locator('[data-key="last"]').fill("2020-06")
    page.locator('[data-key="last"]').dispatch_event("change")
    page.wait_for_url("**month=2020-03..2020-06*")
    expected = count(table, Selection().between("2020-03", "2020-06"))
    page.locator("#patients", has_text=re.compile(f"^{expected}$")).wait_for()


def test_a_day_is_chosen_and_kept_in_the_address(tab: Watched, served_lake: Path) -> None:
    page = tab.page
    with warehouse.open(served_lake) as wh:
        expected = len(wh.as_of("2020-05-01").patients().fetchall())
    page.locator('[data-key="as_of"]').fill("2020-05-01")
    page.locator('[data-key="as_of"]').dispatch_event("change")
    page.wait_for_url("**/asof/2020-05-01/explore*")
    page.locator("#patients", has_text=re.compile(f"^{expected}$")).wait_for()
    page.reload()
    assert page.locator("#patients").inner_text() == str(expected)
    page.locator('[data-key="all days"]').click()
    page.wait_for_url(re.compile("^(?!.*asof).*/explore"))


def test_a_day_is_typed_without_being_interrupted(tab: Watched) -> None:
    """While its year is typed, the date is one of the year 2, 20 or 202: nothing is asked of those."""
    page, asked = tab.page, []
    page.on("request", lambda request: asked.append(request.url))
    page.locator('[data-key="as_of"]').focus()
    page.keyboard.type("05012020")
    page.wait_for_url("**/asof/2020-05-01/explore*")
    assert len([url for url in asked if "as_of=" in url]) == 1
    assert page.evaluate("document.activeElement.dataset.key") == "as_of"


def test_a_cohort_is_built_and_taken_away(tab: Watched, table: FacetTable, served_lake: Path) -> None:
    page = tab.page
    page.locator('[data-key="modality CR"]').click()
    page.locator(".chips").wait_for()
    page.locator('[data-key="cohort"]').click()
    page.locator("#sql").wait_for()
    page.locator('[data-key="grain image"]').check()
    page.wait_for_url("**grain=image*")
    page.locator("#sql", has_text="-- grain: image").wait_for()
    page.locator('[data-key="title"]').fill("Films by CR")
    page.locator('[data-key="title"]').press("Enter")
    page.locator("#sql", has_text="-- title: Films by CR").wait_for()
    page.locator("#attrition.loaded").wait_for()
    assert page.evaluate("document.getElementById('attrition').naturalWidth") > 100
    with page.expect_download() as downloading:
        page.locator('[data-key="download"]').click()
    assert downloading.value.suggested_filename == "films_by_cr.sql"
    text = Path(downloading.value.path()).read_text()
    assert text == page.locator("#sql").inner_text()
    assert parse(text, "films_by_cr.sql").grain == "image"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator('[data-key="copy"]').click()
    page.locator("#status", has_text="Copied").wait_for(state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == text


def test_a_manifest_is_exported(tab: Watched) -> None:
    page = tab.page
    page.locator('[data-key="modality CR"]').click()
    page.locator(".chips").wait_for()
    page.locator('[data-key="cohort"]').click()
    with page.expect_download() as downloading:
        page.locator('[data-key="manifest"]').click()
    with zipfile.ZipFile(downloading.value.path()) as archive:
        assert json.loads(archive.read("manifest.json"))["cohort"]


@pytest.mark.slow
def test_the_slider_shows_a_patient_as_known_on_each_day(tab: Watched, served_lake: Path) -> None:
    """One whose record changes: at its left end only the first day's news, at the right end everything."""
    page = tab.page
    with warehouse.open(served_lake) as wh:
        ((patient_id, first, last),) = wh.sql(
            "select patient_id, min(available_date), max(available_date) from clinical_history "
            "where patient_id in (from clinical_changes select patient_id) group by all order by 1 limit 1"
        ).fetchall()
        changes = len(wh.patient(patient_id).clinical_changes().fetchall())  # type: ignore[union-attr]
        before = len(wh.as_of(first).patient(patient_id).timeline().fetchall())
    page.goto(page.url.replace("/explore?exact=1", f"/explore/patient?id={patient_id}"))
    slider = page.locator("#day")
    assert page.locator("tr.new, .changes tbody tr").count() >= changes
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_url("**day=*")
    page.locator(".steps", has_text="the first day").wait_for()
    assert page.locator(".changes").count() == 0
    shown = page.locator("#day-shown").inner_text()
    while shown < str(first):
        page.locator('[data-key="later"]').click()
        page.locator("#day-shown", has_not_text=shown).wait_for()
        shown = page.locator("#day-shown").inner_text()
    assert page.locator(".events li").count() == before
    page.locator("#day").focus()
    page.keyboard.press("End")
    page.locator(".steps", has_text="the last day").wait_for()
    assert page.evaluate("document.activeElement.id") == "day"
    assert page.locator("#day-shown").inner_text() >= str(last)


@pytest.mark.slow
def test_small_pictures_are_those_of_the_gateway(tab: Watched, served_lake: Path) -> None:
    """Each series of a study has one, drawn by DICOMweb; and the page says so where one cannot be drawn."""
    pytest.importorskip("warehouse.service.dicomweb", reason="DICOMweb is not part of this version")
    page = tab.page
    with warehouse.open(served_lake) as wh:
        ((patient_id, n_series),) = wh.sql(
            "select patient_id, n_series from patients where n_series between 2 and 6 and n_cr > 0 "
            "and patient_id in (from images select patient_id where dcm_key is not null) order by n_cr desc, 1 limit 1"
        ).fetchall()
    page.goto(page.url.replace("/explore?exact=1", f"/explore/patient?id={patient_id}"))
    pictures = page.locator(".pictures img, .pictures .missing")
    for place in range(pictures.count()):
        pictures.nth(place).scroll_into_view_if_needed()
    page.locator(".pictures img.loaded").first.wait_for()
    assert pictures.count() == n_series
    tab.errors.clear()  # a picture that cannot be drawn is an error of the console


def test_a_server_that_refuses_or_is_gone_is_explained_above_the_page(tab: Watched, table: FacetTable) -> None:
    page = tab.page
    page.context.clear_cookies()
    page.locator('[data-key="sex F"]').click()
    page.get_by_role("alert").filter(has_text="does not know you any more").wait_for()
    page.route("**/*", lambda route: route.abort())
    page.locator('[data-key="sex M"]').click()
    page.get_by_role("alert").filter(has_text="cannot be reached").wait_for()
    assert page.locator("#patients").inner_text() == str(table.n_patients)
    assert page.locator(".banner").count() == 1
    assert len(tab.errors) == 2  # the two failed requests
    tab.errors.clear()


def test_a_caller_of_counts_is_shown_no_row(
    browser: Any, served: Served, tokens: dict[str, str], table: FacetTable
) -> None:
    with open_tab(browser, f"{served.address}/explore?token={tokens['counts']}") as watched:
        page = watched.page
        assert "token=" not in page.url
        assert page.locator('[data-key="patients"], [data-key="exact"]').count() == 0
        page.locator('[data-key="cohort"]').click()
        page.locator("#sql").wait_for()
        assert page.locator('[data-key="manifest"]').count() == 0
        page.goto(f"{served.address}/explore/patient?id={table.patient_ids[0].as_py()}")
        assert page.locator("h1").inner_text() == "This is not shown"


def test_without_scripts_every_link_and_form_works(browser: Any, served: Served, tokens: dict[str, str]) -> None:
    address = f"{served.address}/explore?exact=1&token={tokens['rows']}"
    with open_tab(browser, address, java_script_enabled=False) as watched:
        page = watched.page
        page.locator('[data-key="sex F"]').click()
        assert read_query(page)["sex"] == ["F"]
        page.locator('[data-key="as_of"]').fill("2020-05-01")
        page.locator("form.scope button").click()
        assert "/asof/2020-05-01/explore" in page.url
        assert read_query(page)["sex"] == ["F"]
        page.locator('[data-key="patients"]').click()
        page.locator("tbody a").first.click()
        assert page.locator("#day-shown").inner_text() <= "2020-05-01"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_the_window(
    width: int, scheme: str, browser: Any, served: Served, tokens: dict[str, str], table: FacetTable
) -> None:
    """Nothing is wider than the window, and text stands out from its background as WCAG asks (4.5 to 1)."""
    patient = table.patient_ids[0].as_py()
    size = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with open_tab(browser, f"{served.address}/explore?token={tokens['pixels']}", **size) as watched:
        for path in ("/explore?sex=F", "/explore/patients", f"/explore/patient?id={patient}", "/explore/cohort?sex=F"):
            watched.page.goto(served.address + path)
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert watched.page.evaluate(_CONTRAST) >= 4.5, path


#: The least contrast of a text colour with the page's background.
_CONTRAST = """() => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((n) => linear(n / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const words = [...document.querySelectorAll("p, h1, h2, .count, .name, main a:not(.button), dt, dd")];
  const shown = words.filter((each) => each.getClientRects().length && !each.closest(".paper"));
  return Math.min(...shown.map((each) => {
    const ink = light(getComputedStyle(each).color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }));
}"""
