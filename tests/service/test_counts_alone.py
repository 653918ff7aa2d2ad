"""Who may see counts alone learns no exact number, no pseudonym, and nothing of patients whom they name."""

import re
from pathlib import Path
from typing import Any

import pytest
from served import Served, serve_thread, write_tokens

from warehouse.cohorts import list_shipped, load
from warehouse.service.questions import FIXING
from warehouse.service.tokens import Caller, Rights

API = "/api/v1"
IDENTIFIERS = re.compile(r"Covid\d|2\.25\.\d|\d{4}-\d\d-\d\d")


@pytest.fixture
def token(served_lake: Path, tmp_path: Path) -> Any:
    """A server, and the token of somebody who was shown nothing before."""
    file = tmp_path / "tokens.json"
    tokens = write_tokens(file, Caller("somebody", Rights.counts))
    with serve_thread(served_lake, token_file=file) as served:
        yield served, tokens["somebody"]


@pytest.mark.slow
def test_several_bases_of_rounding_do_not_find_the_exact_number(token: tuple[Served, str]) -> None:
    served, somebody = token
    for path in ("cohorts/covid_risk/counts", "cohorts/covid_risk/attrition", "cohorts/covid_risk/table1", "checks"):
        found = {
            base: served.get(f"{API}/{path}", somebody, params={"suppress": base}).status_code
            for base in (0, 5, 6, 7, 10, 12, 13, 1_000_000)
        }
        assert found.pop(5) == 200
        assert set(found.values()) == {403}, path
    body = served.post(f"{API}/cohorts/covid_risk/counts", {"suppress": 12}, somebody)
    assert body.status_code == 403


@pytest.mark.slow
def test_groups_of_a_table_name_no_patient_image_or_day(token: tuple[Served, str]) -> None:
    served, somebody = token
    path = f"{API}/cohorts/covid_risk/table1"
    for by in ("patient_id", "StudyInstanceUID", "SOPInstanceUID", "swab_date", "StudyDate", "days_from_swab"):
        for answer in (
            served.get(path, somebody, params={"by": by}),
            served.post(path, {"by": by}, somebody),
            served.get(path, somebody, params={"by": by, "format": "csv"}),
        ):
            assert answer.status_code == 400, by
            assert not IDENTIFIERS.search(answer.text)
    for by in ("covid_status", "centre", "sex"):
        assert served.get(path, somebody, params={"by": by}).status_code == 200, by


def test_nothing_is_counted_of_patients_who_are_named(token: tuple[Served, str]) -> None:
    served, somebody = token
    named = ["Covid1", "Covid2", "Covid3", "Covid4", "Covid5"]
    for kind in ("counts", "attrition", "table1"):
        path = f"{API}/cohorts/prior_data/{kind}"
        for name in ("patients", "PATIENTS"):
            answer = served.get(path, somebody, params={"param": [f"{name}={each}" for each in named]})
            assert answer.status_code == 403, (kind, name)
        assert served.post(path, {"parameters": {"patients": named}}, somebody).status_code == 403


def test_no_known_number_is_added_and_no_values_are_united(token: tuple[Served, str]) -> None:
    """7 positive cases and 23 negative ones were 30, and with 22 fewer: so they were 7. Sums of centres do the same."""
    served, somebody = token
    for name, given in (
        ("teaching_set", {"per_answer": 23}),
        ("teaching_set", {"PER_ANSWER": 23}),
        ("teaching_set", {"draw": 2}),
        ("external_validation", {"centres": ["Leeds"], "draw": 2}),
        ("external_validation", {"centres": ["Leeds", "Oxford"]}),
        ("external_validation", {"centres": ["Leeds"], "scanners": ["A", "B"]}),
        ("covid_risk", {"projections": ["frontal", "lateral"]}),
    ):
        for kind in ("counts", "attrition", "table1"):
            answer = served.post(f"{API}/cohorts/{name}/{kind}", {"parameters": given}, somebody)
            assert (answer.status_code, "counts alone" in answer.text) == (400, True), (name, given, kind)
    for name, given in (("external_validation", {"centres": ["Leeds"]}), ("covid_risk", {"projections": ["frontal"]})):
        assert served.post(f"{API}/cohorts/{name}/counts", {"parameters": given}, somebody).status_code in (200, 403)


@pytest.mark.slow
def test_steps_of_two_cohorts_that_begin_alike_are_compared(token: tuple[Served, str], served_lake: Path) -> None:
    """Ranges of ages of one and of the other could have been subtracted: no film has a swab 1 day before and after."""
    import warehouse

    served, somebody = token
    never = {"days_before": -1, "days_after": -1}
    with warehouse.open(served_lake) as wh:
        steps = {age: wh.cohort("covid_risk", min_age=age, **never).steps() for age in range(18, 90, 3)}
    n = {
        age: next(step.counts["patients"] or 0 for step in found if step.step == "of_age")
        for age, found in steps.items()
    }
    one, other = next((a, b) for a in n for b in n if 0 < n[a] - n[b] < 5)
    asked = [("covid_risk", one, 200), ("teaching_set", one, 200), ("teaching_set", other, 403)]
    for name, age, status in asked:
        given = {"parameters": {**never, "min_age": age}}
        assert served.post(f"{API}/cohorts/{name}/attrition", given, somebody).status_code == status
    fresh = {"parameters": {**never, "min_age": other}}
    assert served.post(f"{API}/cohorts/covid_risk/attrition", fresh, somebody).status_code == 403


def test_parameters_that_limit_how_many_are_drawn_are_known() -> None:
    """They are compared with a place in an order, or are part of the text whose digest orders."""
    from sqlglot import exp, parse_one

    found = set()
    for name in list_shipped():
        for parameter in parse_one(load(name).sql, dialect="duckdb").find_all(exp.Parameter, exp.Placeholder):
            compared = parameter.parent
            assert compared
            if compared.find(exp.RowNumber) or isinstance(compared, exp.DPipe):
                found.add(parameter.name)
    assert found == FIXING


@pytest.mark.slow
def test_those_who_may_see_rows_may_ask_all_of_that(served: Served, tokens: dict[str, str]) -> None:
    path = f"{API}/cohorts/covid_risk"
    assert served.get(f"{path}/counts", tokens["rows"], params={"suppress": 12}).status_code == 200
    assert served.get(f"{path}/table1", tokens["rows"], params={"by": "swab_date"}).status_code == 200
    assert (
        served.post(f"{API}/cohorts/teaching_set/counts", {"parameters": {"draw": 2}}, tokens["rows"]).status_code
        == 200
    )
    given = {"param": ["patients=Covid1", "patients=Covid2"]}
    assert served.get(f"{API}/cohorts/prior_data/counts", tokens["rows"], params=given).status_code == 200


@pytest.mark.slow
def test_a_count_that_fails_is_a_refusal(served_lake: Path) -> None:
    """Whether it fails may depend on one patient: days added to an admission told its day, if asked often enough."""
    import anyio

    import warehouse
    from warehouse.access.patient_sets import DifferenceError
    from warehouse.service.core import Service
    from warehouse.service.questions import Question
    from warehouse.settings import Settings

    with warehouse.open(served_lake) as wh:
        number = wh.snapshot.number
    service = Service(str(served_lake), Settings(), processes=1)
    somebody = Caller("somebody", Rights.counts)
    head = "-- title: All\n-- question: Who?\n-- grain: patient\nselect patient_id from patients\n"

    async def ask_all() -> list[str]:
        found = []
        for condition in ("true", *["error(patient_id) is null"] * 5, "sex = 'F'", "error('no') is null", "true"):
            given = {"name": "own", "sql": f"{head}where {condition}"}
            try:
                await service.ask(somebody, Question("counts", service.base, number, given), is_ours=True)
                found.append("")
            except DifferenceError as error:
                found.append(str(error))
        return found

    try:
        first, *failed, other, failed_again, again = anyio.run(ask_all)
    finally:
        service.close()
    assert (first, again) == ("", "")
    assert {*failed} == {"This count is refused. own cannot be counted with these parameters. Ask with others."}
    assert other.startswith("You are shown no new counts")
    assert failed_again == other
