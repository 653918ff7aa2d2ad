"""The explorer over HTTP: counts are those of SQL and of the cohort that is built, and disclose no small number."""

import html
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import combinations, product
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from conftest import copy_lake, start_lake, write_objects
from hypothesis import given
from hypothesis import strategies as st
from served import Served, serve_process

import warehouse
from warehouse.cohorts.levels import round_levels
from warehouse.lake import location
from warehouse.service.differencing import Memory, differ_by_few
from warehouse.service.explorer.builder import build_cohort, name_file
from warehouse.service.explorer.counting import count_page
from warehouse.service.explorer.facets import FACETS, MISSING
from warehouse.service.explorer.reading import read_images, read_table
from warehouse.service.explorer.rounding import round_facet
from warehouse.service.explorer.selection import Selection, parse_selection
from warehouse.service.explorer.table import FacetTable
from warehouse.service.preparing import Progress
from warehouse.service.tokens import Caller, Rights
from warehouse.settings import Settings
from warehouse.withdrawal import changing


@pytest.fixture(scope="module")
def table(served_lake: Path) -> FacetTable:
    with warehouse.open(served_lake) as wh:
        return read_table(wh, read_images(wh, Progress("")), Progress(""))


def read_total(page: str) -> str:
    found = re.search(r'id="patients"[^>]*>([^<]*)<', page)
    assert found, page[:500]
    return found[1]


def list_choices(table: FacetTable) -> list[Selection]:
    """Each value of each facet, and some together."""
    single = [Selection().toggle(name, level) for name in FACETS for level in table.levels[name]]
    together = (
        [("status", "positive"), ("modality", "CR")],
        [("view", "PA"), ("view", MISSING), ("sex", "F")],
        [("month", "2020-03..2020-06"), ("modality", "CT"), ("age", "60-69"), ("age", "90+")],
        [("month", "..2020-05")],
        [("modality", MISSING), ("vendor", MISSING)],
    )
    return [*single, *map(parse_selection, together)]


@pytest.mark.slow
def test_a_choice_counts_the_patients_of_the_cohort_that_it_builds(
    table: FacetTable, served_lake: Path, tmp_path: Path
) -> None:
    path = tmp_path / "built.sql"
    with warehouse.open(served_lake) as wh:
        for selection in list_choices(table):
            path.write_text(build_cohort(selection, "patient"))
            found = set(wh.cohort(path).rows["patient_id"].to_pylist())
            members = table.find_members(table.find_rows(selection))
            assert found == set(table.list_patients(members, 0, 1_000)), selection


@pytest.mark.slow
def test_an_earlier_day_has_the_images_and_the_facts_of_that_day(served_lake: Path, tmp_path: Path) -> None:
    """Images are read once for all days: on each day they are those of a session of it, as its cohorts count them."""
    path = tmp_path / "built.sql"
    choices = [[], [("status", "positive")], [("modality", "CT")], [("view", "PA"), ("sex", "M")], [("age", MISSING)]]
    with warehouse.open(served_lake) as wh:
        images = read_images(wh, Progress(""))
        days = [day for (day,) in wh.sql("select distinct available_date from images order by 1").fetchall()]
        for day in days[:: max(1, len(days) // 6)]:
            then = wh.as_of(day)
            known = read_table(then, images, Progress(""))
            for choice in choices:
                path.write_text(build_cohort(parse_selection(choice), "patient"))
                members = known.find_members(known.find_rows(parse_selection(choice)))
                expected = then.cohort(path).rows["patient_id"].to_pylist()
                assert known.list_patients(members, 0, 1_000) == expected, (day, choice)
            shown = then.sql("select count(distinct StudyInstanceUID), count(*) from image_regions").fetchone()
            assert known.count_objects(known.find_rows(Selection())) == shown


def test_facets_count_what_sql_counts(table: FacetTable, served_lake: Path) -> None:
    selection = parse_selection([("status", "negative"), ("modality", "CR")])
    counted = table.count(selection)
    with warehouse.open(served_lake) as wh:
        rows = wh.sql(
            "select vendor, count(distinct patient_id) from image_regions join patients using (patient_id) "
            "where covid_status = 'negative' and Modality = 'CR' and vendor is not null group by all"
        ).fetchall()
        others = wh.sql(
            "select Modality, count(distinct patient_id) from image_regions join patients using (patient_id) "
            "where covid_status = 'negative' and Modality is not null group by all"
        ).fetchall()
    assert {level: n for level, n in counted["vendor"].patients.items() if level != MISSING} == dict(rows)
    assert {level: n for level, n in counted["modality"].patients.items() if level != MISSING} == dict(others)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("grain", ["patient", "study", "image"])
def test_a_built_cohort_passes_the_lint_whatever_was_chosen(
    grain: str, table: FacetTable, served_lake: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    values = {name: (table.levels[name][0], MISSING) for name in FACETS if name != "month"}
    values["centre"] = ("o'neil -- $x: {{ hole }} */", MISSING)
    selection = Selection(values, ("2020-03", ""))
    text = build_cohort(selection, grain, "Of all; 'quoted' -- $x: $y")
    path = tmp_path / name_file("Of all")
    path.write_text(text)
    linted = here("cohort", "lint", path, "--lake", served_lake)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert here("cohort", "run", path, "--lake", served_lake).returncode == 0


@given(
    st.data(),
    st.sampled_from(["status", "centre", "modality", "month"]),
    st.lists(st.integers(0, 40), min_size=1, max_size=8),
)
def test_rounded_facets_are_possible_and_consistent(data: st.DataObject, name: str, numbers: list[int]) -> None:
    """All are multiples; the chosen and the others of a partition add up; no value has more than there are."""
    facet = FACETS[name]
    levels = [*[*facet.order, *(f"level {place}" for place in range(8))][: len(numbers) - 1], MISSING]
    counts = dict(zip(levels, numbers, strict=True))
    chosen = data.draw(st.sets(st.sampled_from(levels)))
    whole, total = sum(numbers), sum(n for level, n in counts.items() if level in chosen or not chosen)
    if not facet.is_partition:
        whole = data.draw(st.integers(max(numbers), whole))
        most = max((n for level, n in counts.items() if level in chosen or not chosen), default=0)
        total = data.draw(st.integers(most, min(total, whole))) if chosen else whole
    shown = {value.value: value.count for value in round_facet(facet, counts, chosen, total, whole, 5)}
    assert all(n % 5 == 0 and abs(n - counts[level]) < 5 for level, n in shown.items() if len(chosen) != 1)
    assert all(n <= whole - whole % 5 for n in shown.values())
    if facet.is_partition:
        assert sum(shown.values()) == whole - whole % 5
        assert sum(shown.get(level, 0) for level in chosen or levels) == total - total % 5
    if len(chosen) == 1:
        assert shown[next(iter(chosen))] == total - total % 5
    exact = {value.value: value.count for value in round_facet(facet, counts, chosen, total, whole, 0)}
    assert exact == {level: n for level, n in counts.items() if n or level in chosen}


def test_a_missing_record_is_rounded_in_one_way_in_every_facet() -> None:
    status = round_facet(FACETS["status"], {"positive": 13, "negative": 24, MISSING: 9}, (), 46, 46, 5)
    centre = round_facet(FACETS["centre"], {"a": 7, "b": 19, "c": 11, MISSING: 9}, (), 46, 46, 5)
    missing = [{value.value: value.count for value in shown}[MISSING] for shown in (status, centre)]
    assert missing[0] == missing[1]


@pytest.mark.parametrize(
    ("name", "values"), [("sex", "FMO"), ("centre", "abcd"), ("modality", ["CR", "CT", "DX", "MR"])]
)
def test_whoever_has_table_1_too_finds_no_small_count(name: str, values: Sequence[str]) -> None:
    """No count from 1 to 4 is the only possible one. Four centres of 4, 3, 3 and 4 patients were once: shown here as 5,
    0, 0 and 5, and in table 1 as 0, 5, 5 and 0."""
    possible = defaultdict(list)
    for numbers in product(range(10), repeat=len(values)):
        counts = {value: n for value, n in zip(values, numbers, strict=True) if n}
        shown = {v.value: v.count for v in round_facet(FACETS[name], counts, (), sum(numbers), sum(numbers), 5)}
        by_level = round_levels(counts, 5)
        if max(*shown.values(), *by_level.values(), 0, 0) <= 5:  # then none is of more than 9
            possible[tuple((shown.get(value, 0), by_level.get(value, 0)) for value in values)].append(numbers)
    assert len(possible) > 5
    for worlds in possible.values():
        for found in map(set, zip(*worlds, strict=True)):
            assert len(found) > 1 or found <= {0, 5}


@pytest.mark.slow
def test_centres_are_rounded_in_one_order_whatever_their_spelling(tmp_path: Path) -> None:
    """Table 1 names a centre as most of its patients do, and the explorer in one way: sorted by these names, each
    would round other sums."""
    spellings = {"BRIGHTON Hospitals": 4, "Barts Health": 4, "leeds NHS Trust": 3, "York": 4, "LEEDS NHS Trust": 1}
    numbers = iter(range(sum(spellings.values())))
    objects = {
        f"training/data/P{next(numbers)}/data_2020-05-01.json": json.dumps(
            {"SubmittingCentre": centre, "Date of Positive Covid Swab": "04/01/2020", "Sex": "F"}
        ).encode()
        for centre, n in spellings.items()
        for _ in range(n)
    }
    write_objects(tmp_path / "bucket", objects)
    warehouse.refresh(str(tmp_path / "bucket"), str(start_lake(tmp_path / "lake")))
    (tmp_path / "all.sql").write_text(
        "-- title: All\n-- question: Who is there?\n-- grain: patient\nselect patient_id from patients\n"
    )
    with warehouse.open(tmp_path / "lake") as wh:
        table1 = wh.cohort(tmp_path / "all.sql").table1()
        read = read_table(wh, read_images(wh, Progress("")), Progress(""))
    (centres,) = (one for one in table1.characteristics if one.name == "centre")
    page = count_page(read, Selection(), 5, Caller("somebody", Rights.counts), Memory())
    shown = {value.label.lower(): value.count for value in page.facets["centre"].values}
    assert shown == {level.lower(): centres.count(level, "Overall") for level in centres.levels}
    assert shown == {"brighton hospitals": 5, "leeds nhs trust": 5, "york": 5}


def test_counts_that_differ_by_a_few_patients_are_refused(table: FacetTable) -> None:
    """One who may see counts alone is refused the second of two such; one who may see rows is not asked."""
    memory, caller = Memory(), Caller("reader", Rights.counts)
    choices = [Selection(), *list_choices(table)]
    sets = [np.sort(table.digest(table.find_members(table.find_rows(selection)))) for selection in choices]
    first, second = next(
        (choices[i], choices[j])
        for i, j in combinations(range(len(choices)), 2)
        if len(sets[i]) > 10 and len(sets[j]) > 10 and differ_by_few(sets[i], sets[j], 5)
    )
    count_page(table, first, 5, caller, memory)
    with pytest.raises(warehouse.WarehouseError, match="differs from an earlier one"):
        count_page(table, second, 5, caller, memory)
    assert count_page(table, first, 5, caller, memory).patients
    assert count_page(table, second, 5, Caller("owner", Rights.rows), memory).patients


def test_few_changed_records_are_refused_though_the_patients_are_the_same(table: FacetTable) -> None:
    """As they are on another day: a facet moves by one patient."""

    def change(n_patients: int) -> FacetTable:
        values = table.of_patients["sex"].copy()
        values[:n_patients] = (values[:n_patients] + 1) % len(table.levels["sex"])
        return replace(table, of_patients={**table.of_patients, "sex": values})

    memory, caller = Memory(), Caller("reader", Rights.counts)
    count_page(table, Selection(), 5, caller, memory)
    with pytest.raises(warehouse.WarehouseError, match="differs from an earlier one"):
        count_page(change(1), Selection(), 5, caller, memory)
    assert count_page(change(5), Selection(), 5, caller, memory).patients
    assert count_page(table, Selection(), 5, caller, memory).patients
    again = replace(table, levels={**table.levels}, of_patients={**table.of_patients})
    assert (again.described == table.described).all()


def test_other_values_are_held_back_until_their_whole_was_shown(table: FacetTable) -> None:
    """A shared address shows what is chosen, and not the others of that facet: they add up to a new number."""
    memory, caller = Memory(), Caller("reader", Rights.counts)
    choice = parse_selection([("status", "negative")])
    shared = count_page(table, choice, 5, caller, memory).facets["status"]
    assert shared.is_held_back
    assert [value.value for value in shared.values] == ["negative"]
    count_page(table, Selection(), 5, caller, memory)
    known = count_page(table, choice, 5, caller, memory).facets["status"]
    assert not known.is_held_back
    assert [value.value for value in known.values][:2] == ["positive", "negative"]


def test_a_caller_of_counts_sees_no_row_and_no_exact_number(
    served: Served, tokens: dict[str, str], table: FacetTable
) -> None:
    token = tokens["counts"]
    page = served.get("/explore?exact=1", token).text
    assert read_total(page) == str(table.n_patients - table.n_patients % 5)
    assert "Show exact counts" not in page
    assert "See the patients" not in page
    patient_id = table.patient_ids[0].as_py()
    for path in ("patients", f"patient?id={patient_id}", "manifest.zip?modality=CR"):
        answer = served.get(f"/explore/{path}", token)
        assert answer.status_code == 403
        assert "This is not shown" in answer.text
        assert patient_id not in answer.text.replace(html.escape(path), "")
    assert not {each.as_py() for each in table.patient_ids} & set(re.findall(r"\w+", page))
    drawn = served.get("/explore/attrition.svg?status=negative", token)
    assert drawn.status_code == 200
    assert all(int(n) % 5 == 0 for n in re.findall(r"(\d+)\u00a0patient", drawn.text))


def test_a_caller_of_counts_chooses_one_value_of_a_facet(served: Served, tokens: dict[str, str]) -> None:
    """The numbers of sums of large values, with the total, disclose a small value that is left."""
    for query in ("status=negative&status=positive", "month=2020-03..2020-06", "month=..2020-06"):
        refused = served.get(f"/explore?{query}", tokens["counts"])
        assert refused.status_code == 403
        assert "one value of each facet" in refused.text
        assert served.get(f"/explore?{query}", tokens["rows"]).status_code == 200
    page = served.get("/explore?status=negative", tokens["counts"]).text
    assert "status=positive" in page, "another value takes the place of the chosen one"
    assert not re.search(r"status=\w+&(amp;)?status=", page)


def test_a_caller_of_rows_may_see_exact_counts(served: Served, tokens: dict[str, str], table: FacetTable) -> None:
    page = served.get("/explore?exact=1", tokens["rows"]).text
    assert read_total(page) == str(table.n_patients)
    assert re.search(r"\d+ studies, \d+ images", page)
    assert "studies, " not in served.get("/explore", tokens["rows"]).text


def test_a_browser_without_a_token_is_shown_a_page_and_a_program_a_problem(served: Served) -> None:
    with httpx2.Client(base_url=served.address, trust_env=False, timeout=60) as stranger:
        page = stranger.get("/explore", headers={"Accept": "text/html,*/*;q=0.8"})
        assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert "chest explore" in page.text
        problem = stranger.get("/explore")
        assert (problem.status_code, problem.headers["content-type"]) == (401, "application/problem+json")


def test_a_day_and_a_group_are_in_the_address(served: Served, tokens: dict[str, str], served_lake: Path) -> None:
    went = served.get("/explore/go?as_of=2020-05-01&group=validation&sex=F", tokens["all"])
    assert went.headers["location"] == "/asof/2020-05-01/group/validation/explore?sex=F"
    page = served.get("/asof/2020-05-01/explore?exact=1", tokens["rows"]).text
    with warehouse.open(served_lake) as wh:
        assert read_total(page) == str(len(wh.as_of("2020-05-01").patients().fetchall()))
    assert 'value="2020-05-01"' in page
    assert served.get("/group/validation/explore", tokens["rows"]).status_code == 403
    assert served.get("/asof/2020-05-01/explore/go?as_of=&first=2020-03&last=2020-04", tokens["rows"]).headers[
        "location"
    ] == ("/explore?month=2020-03..2020-04")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/explore?month=2020-13", 400, "Months are a range"),
        ("/explore?centre=" + "x" * 300, 400, "chooses too much"),
        ("/explore?age=7-8&grain=image", 200, "7-8"),
        ("/explore/cohort?age=7-8", 400, "There is no band of ages"),
        ("/explore/cohort?grain=series", 400, "cohorts of patients, studies or images"),
        ("/explore/patient?id=Nobody", 404, "No patient"),
        ("/explore/patient?id=x&day=soon", 404, "No patient"),
        ("/cohort/covid_risk/explore", 400, "leave out /cohort/"),
        ("/asof/1999-01-01/explore", 200, "No patients yet"),
        ("/explore?centre=nowhere", 200, "Fewer than 5 patients fit"),
        ("/explore?centre=nowhere&exact=1", 200, "Nobody fits"),
    ],
)
def test_an_address_that_cannot_be_answered_is_explained_on_a_page(
    served: Served, tokens: dict[str, str], path: str, status: int, words: str
) -> None:
    answer = served.get(path, tokens["rows"])
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in html.unescape(answer.text)


def test_text_of_an_address_is_never_markup(served: Served, tokens: dict[str, str]) -> None:
    hostile = '"><script>alert(1)</script>'
    for path in ("/explore", "/explore/cohort", "/explore/patients"):
        page = served.get(path, tokens["rows"], params={"centre": hostile, "title": hostile})
        assert "<script>alert" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
    drawn = served.get("/explore/attrition.svg", tokens["rows"], params={"title": hostile, "sex": "F"})
    assert "<script>" not in drawn.text


def test_a_manifest_is_of_the_built_cohort(
    served: Served, tokens: dict[str, str], served_lake: Path, tmp_path: Path, here: Callable[..., Any]
) -> None:
    answer = served.get("/explore/manifest.zip?modality=CR&grain=image&title=Films", tokens["rows"])
    assert answer.headers["content-disposition"] == 'attachment; filename="films.zip"'
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "films")
    verified = here("manifest", "verify", tmp_path / "films", "--lake", served_lake)
    assert verified.returncode == 0, verified.stderr


def test_the_log_has_no_choice_and_no_patient(served: Served, tokens: dict[str, str], table: FacetTable) -> None:
    patient_id = table.patient_ids[0].as_py()
    served.get(f"/explore/patient?id={patient_id}&centre=leeds", tokens["rows"])
    last = [line for line in served.read_log() if line["asked"] == "show_patient"][-1]
    assert last["status"] == 200
    assert patient_id not in str(last)
    assert "leeds" not in str(last)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["explore?exact=1", "explore/patients", "api/v1/sql?q=select+count(*)+from+patients"])
def test_no_page_of_a_snapshot_counts_somebody_who_has_withdrawn(path: str, served_lake: Path, tmp_path: Path) -> None:
    """Nothing else has made the server look at the list: the number of the snapshot is in the address."""
    lake = copy_lake(served_lake, tmp_path / "lake")
    with serve_process(lake, tmp_path / "log") as served:
        number = served.get("/api/v1/about").json()["snapshot"]
        before = served.get_ready(f"/snapshot/{number}/{path}")
        assert before.status_code == 200
        with warehouse.open(lake) as wh:
            ((patient,),) = wh.sql("select min(patient_id) from patients").fetchall()
        changing.withdraw(location.parse_address(str(lake)), Settings(), [patient])
        held = {"If-None-Match": before.headers.get("ETag", "none")}
        after = served.get_ready(f"/snapshot/{number}/{path}", headers=held)
        assert after.status_code == 200
        assert after.text != before.text
        assert after.text == served.get_ready(f"/snapshot/{number}/{path}").text
