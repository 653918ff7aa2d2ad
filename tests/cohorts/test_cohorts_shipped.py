"""The shipped cohorts on tiny buckets, beyond their examples (sql/cohorts/*.test.txt): steps, samples, dirty values."""
# ruff: noqa: E501 (tables of examples are wide)

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from conftest import write_objects
from example_lakes import build_lake, build_objects, fetch_answer

import warehouse
from warehouse import cohorts

#: Records of which none makes a film of 5 April a negative one, and what is against it.
NEVER_NEGATIVE = {
    "inconclusive": "2020-04-05 inconclusive",
    "a code beyond the schema": "2020-04-05 2",
    "the laboratory's positive phrase": "2020-04-05 RNA DETECTED (SARS-CoV-2)",
    "positive in words": "2020-04-05 Weak positive",
    "no result": "2020-04-05 awaited",
    "negative in words, which cleaning does not take": "2020-04-05 RNA NOT DETECTED",
    "an inconclusive one as near": "2020-04-03 0, 2020-04-07 equivocal",
    "an inconclusive one nearer": "2020-04-03 0, 2020-04-05 indeterminate",
    "a positive one at any time": "2020-04-05 0, 2020-09-01 1",
    "a positive phrase at any time": "2020-04-05 0, 2020-09-01 SARS-CoV-2 detected",
    "a negative one of long ago": "2020-03-01 0",
}


@pytest.mark.slow
def test_nothing_but_a_negative_swab_makes_a_negative(tmp_path: Path) -> None:
    films, records = ["patient | image | day | centre"], ["patient | uploaded | swabs | centre"]
    for n, swabs in enumerate(NEVER_NEGATIVE.values()):
        films.append(f"n{n} | n{n} | 2020-04-05 |")
        records.append(f"n{n} | 2020-10-01 | {swabs} | Leeds")
    films += ["fine | fine | 2020-04-05 |", "tie_a | tie_a | 2020-04-05 |", "tie_b | tie_b | 2020-04-05 |"]
    films += ["pos | pos | 2020-04-05 |", "pos2 | pos2 | 2020-04-05 |", "pos3 | pos3 | 2020-04-05 |"]
    records += [
        "fine | 2020-10-01 | 2020-04-05 0, 2020-04-07 2 | Leeds",
        "tie_a | 2020-10-01 | 2020-04-02 0, 2020-04-08 0 | Leeds",
        "tie_b | 2020-10-01 | 2020-04-08 0, 2020-04-02 0 | Leeds",
    ]
    positives = "patient | uploaded | positive_swab | centre" + "".join(
        f"\n{name} | 2020-10-01 | 2020-04-05 | Leeds" for name in ("pos", "pos2", "pos3")
    )
    write_objects(tmp_path / "bucket", build_objects("patient | image", positives))
    wh = build_lake(tmp_path, "\n".join(films), "\n".join(records))
    for cohort, more in (
        ("covid_risk", {}),
        ("teaching_set", {"with_answers": True}),
        ("external_validation", {"centres": ["LEEDS"]}),
    ):
        label = "answer" if cohort == "teaching_set" else "covid_status"
        found = fetch_answer(wh, cohort, "patient_id", label, **more)
        negative = {patient for patient, status in found if status == "negative"}
        assert negative == {"fine", "tie_a", "tie_b"}, (cohort, [*NEVER_NEGATIVE])
        if cohort != "teaching_set":
            days = dict(fetch_answer(wh, cohort, "patient_id", "days_from_swab", **more))
            assert days["tie_a"] == days["tie_b"] == 3, "of two as near the earlier, in whichever order they are sent"


def test_ventilation(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        """
        patient  | image     | day        | description   | view
        vent     | vent_old  | 2020-03-01 |               |
        vent     | vent_in   | 2020-04-01 |               |
        vent     | vent_next | 2020-04-02 |               |
        late     | late_in   | 2020-04-01 |               |
        not      | not_in    | 2020-03-31 |               |
        already  | already   | 2020-04-02 |               |
        same     | same      | 2020-04-01 |               |
        when     | when      | 2020-04-01 |               |
        unknown  | unknown   | 2020-04-01 |               |
        denied   | denied    | 2020-04-01 |               |
        lost     | lost      | 2020-04-01 |               |
        uploaded | uploaded  | 2020-04-01 |               |
        dead     | dead_in   | 2020-04-01 |               |
        undated  | undated   | 2020-04-01 |               |
        dayonly  | dayonly   | 2020-04-01 |               |
        before   | before    | 2020-04-01 |               |
        ruled    | ruled     | 2020-04-01 |               |
        noswab   | noswab    | 2020-04-01 |               |
        ward     | ward      | 2020-04-01 |               |
        child    | child     | 2020-04-01 |               |
        side     | side      | 2020-04-01 | Chest Lateral | none
        far      | far       | 2020-04-03 |               |
        """,
        """
        patient  | uploaded   | admitted   | intubated | intubated_on | alive_on   | death | died_on    | positive_swab | final | age
        vent     | 2020-04-09 | 2020-04-01 | 1         | 2020-04-05   |            |       |            | 2020-04-01    |       | 70
        late     | 2020-06-09 | 2020-04-01 | 1         | 2020-05-20   |            |       |            | 2020-04-01    |       |
        not      | 2020-05-09 | 2020-04-01 | 0         |              | 2020-04-28 |       |            | 2020-03-20    |       |
        already  | 2020-06-09 | 2020-04-01 | 1         | 2020-04-01   |            |       |            | 2020-04-01    |       |
        same     | 2020-06-09 | 2020-04-01 | 1         | 2020-04-01   |            |       |            | 2020-04-01    |       |
        when     | 2020-06-09 | 2020-04-01 | 1         |              | 2020-06-01 |       |            | 2020-04-01    |       |
        unknown  | 2020-06-09 | 2020-04-01 |           |              | 2020-06-01 |       |            | 2020-04-01    |       |
        denied   | 2020-06-09 | 2020-04-01 | 0         | 2020-04-05   | 2020-06-01 |       |            | 2020-04-01    |       |
        lost     | 2020-06-09 | 2020-04-01 | 0         |              | 2020-04-09 |       |            | 2020-04-01    |       |
        uploaded | 2020-06-09 | 2020-04-01 | 0         |              |            | 0     |            | 2020-04-01    |       |
        dead     | 2020-04-09 | 2020-04-01 | 0         |              |            | 1     | 2020-04-08 | 2020-04-01    |       |
        undated  | 2020-06-09 | 2020-04-01 | 0         |              |            | 1     |            | 2020-04-01    |       |
        dayonly  | 2020-06-09 | 2020-04-01 | 0         |              |            |       | 2020-04-08 | 2020-04-01    |       |
        before   | 2020-06-09 | 2020-04-01 | 0         |              |            | 1     | 2020-03-30 | 2020-04-01    |       |
        ruled    | 2020-06-09 | 2020-04-01 | 1         | 2020-04-05   |            |       |            | 2020-04-01    | 0     |
        noswab   | 2020-06-09 | 2020-04-01 | 1         | 2020-04-05   |            |       |            |               |       |
        ward     | 2020-06-09 | 2020-04-01 | 1         | 2020-04-25   |            |       |            | 2020-04-21    |       |
        child    | 2020-06-09 | 2020-04-01 | 1         | 2020-04-05   |            |       |            | 2020-04-01    |       | 3
        side     | 2020-06-09 | 2020-04-01 | 1         | 2020-04-05   |            |       |            | 2020-04-01    |       |
        far      | 2020-06-09 | 2020-04-01 | 0         |              |            |       |            | 2020-04-01    |       |
        """,
    )
    columns = ("patient_id", "ventilated", "days_to_ventilation", "died", "days_followed", "is_censored")
    assert fetch_answer(wh, "ventilation", *columns) == [
        ("dayonly", False, None, True, 7, False),
        ("dead", False, None, True, 7, False),
        ("denied", None, None, False, 61, False),
        ("late", False, None, False, 49, False),
        ("lost", None, None, None, 8, True),
        ("not", False, None, False, 28, False),
        ("undated", None, None, None, 0, True),
        ("unknown", None, None, False, 61, False),
        ("uploaded", None, None, None, 0, True),
        ("vent", True, 4, None, 4, False),
        ("when", None, None, False, 61, False),
    ]
    assert fetch_answer(wh, "ventilation", "patient_id", "StudyDate")[-2] == ("vent", "2020-04-01"), (
        "the first at presentation"
    )
    assert {step.step: step.counts["patients"] for step in wh.cohort("ventilation").steps()} == {
        "films": 19,  # side
        "of_admitted": 19,
        "not_ruled_out": 18,  # ruled
        "swabbed": 16,  # noswab, ward
        "presented": 15,  # far: two days after admission
        "of_age": 14,  # child
        "index_films": 14,
        "at_risk": 11,  # already, same, before
        "followed": 11,
        "answer": 11,
    }
    assert ("late", True) in fetch_answer(wh, "ventilation", "patient_id", "ventilated", horizon=60)
    anyone = fetch_answer(wh, "ventilation", "patient_id", "ventilated", ask_swab=False)
    assert {("noswab", True), ("ward", True)} <= set(anyone)
    assert not any(patient == "ruled" for patient, _ in anyone)


def test_a_study_sent_for_two_patients_is_ventilations_of_the_first_by_name(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        """
        patient | image  | day        | study
        a       | a_only | 2020-04-01 | both
        b       | b_both | 2020-04-01 | both
        b       | b_next | 2020-04-02 | next
        """,
        """
        patient | uploaded   | admitted   | positive_swab | pcr | pcr_day
        b       | 2020-06-09 | 2020-04-01 | 2020-04-01    | 1   | 2020-03-31
        """,
    )
    assert fetch_answer(wh, "ventilation", "patient_id", "StudyInstanceUID") == [("b", "next")], (
        "one row, though two swabs are positive"
    )


@pytest.mark.slow
def test_external_validation(tmp_path: Path) -> None:
    films = ["patient | image | day | view | model"]
    records = ["patient | uploaded | positive_swab | swab | centre | sex | age"]
    for n, (view, centre, is_positive, sex, age, day) in enumerate(
        [("AP", "Leeds", True, "F", 61, "2020-04-02")] * 3
        + [("AP", "Leeds ", False, "F", 64, "2020-04-02")] * 2
        + [("PA", "LEEDS", True, "M", 50, "2020-04-02")]
        + [("PA", "Leeds\u00a0", False, "M", 59, "2020-05-02")] * 2  # another month
        + [("PA", "Leeds", False, "M", 40, "2020-04-02")]  # another decade
        + [("PA", "Leeds", False, "F", 50, "2020-04-02")]  # another sex
        + [("AP", "Bath", True, "F", 30, "2020-04-02"), ("AP", "Bath", False, "F", 30, "2020-04-02")]
        + [("AP", "Leeds", True, "F", 12, "2020-04-02"), ("AP", "Leeds", False, "F", 12, "2020-04-02")]
    ):
        swab = date.fromisoformat(day) - timedelta(days=1)
        films.append(f"p{n} | near{n} | {day} | {view} | {'One' if n % 2 else 'Two'}")
        films.append(f"p{n} | later{n} | {swab + timedelta(days=7)} | {view} | One")
        dates = f"{swab if is_positive else ''} | {'' if is_positive else swab}"
        records.append(f"p{n} | 2020-06-01 | {dates} | {centre} | {'1' if sex == 'M' else '0'} | {age}")
    # Seen at both centres: what was trained on there must not be tried here.
    films.append("both | both | 2020-04-02 | AP | One")
    records.append("both | 2020-06-01 |  | 2020-04-01 | Leeds | 0 | 61")
    earlier = "patient | uploaded | swab | centre\nboth | 2020-05-01 | 2020-04-01 | Bath"
    write_objects(tmp_path / "bucket", build_objects("patient | image", earlier))
    wh = build_lake(tmp_path, "\n".join(films), "\n".join(records))

    def cells(*centres: str, **parameters: object) -> Counter[tuple[object, ...]]:
        columns = ("view", "covid_status", "matched_on", "patient_id")
        found = fetch_answer(wh, "external_validation", *columns, centres=[*centres], **parameters)
        assert len({row[-1] for row in found}) == len(found), "one film a patient"
        assert "both" not in {row[-1] for row in found}
        return Counter(row[:-1] for row in found)

    month, decade = "projection, sex, age, month", "projection, sex, age"
    ap = {("AP", "positive", month): 2, ("AP", "negative", month): 2}
    pa = {("PA", "positive", decade): 1, ("PA", "negative", decade): 1}
    assert cells("  leeds") == {**ap, **pa}, "Bath was trained on"
    assert cells("Leeds", loosen=0) == ap
    assert cells("Bath") == {("AP", "positive", month): 1, ("AP", "negative", month): 1}
    assert cells("Oxford", "") == {}
    assert sum(cells("Leeds", min_age=0).values()) == 8
    assert sum(cells("Leeds", days_before=-1, loosen=3).values()) == 6
    with pytest.raises(warehouse.UsageError, match=r"requires the parameter centres"):
        wh.cohort("external_validation")
    images = {row[0] for row in fetch_answer(wh, "external_validation", "SOPInstanceUID", centres=["Leeds"])}
    assert all(str(name).startswith("near") for name in images), "the film nearest to the swab"
    draws = [
        tuple(fetch_answer(wh, "external_validation", "SOPInstanceUID", centres=["Leeds"], draw=n)) for n in range(6)
    ]
    assert len(set(draws)) > 1
    assert draws[1] == tuple(fetch_answer(wh, "external_validation", "SOPInstanceUID", centres=["Leeds"])), (
        "alike each time"
    )
    given = {"centres": ["Leeds"], "scanners": ["Two"], "loosen": 3}
    assert {row[0] for row in fetch_answer(wh, "external_validation", "ManufacturerModelName", **given)} == {"Two"}


@pytest.mark.slow
def test_external_validation_lets_matching_go_step_by_step(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        """
        patient | image | day
        pos     | pos   | 2020-04-02
        neg     | neg   | 2020-05-02
        """,
        """
        patient | uploaded   | positive_swab | swab       | centre | sex | age
        pos     | 2020-06-01 | 2020-04-02    |            | Leeds  | 1   | 61
        neg     | 2020-06-01 |               | 2020-05-02 | Leeds  | 0   | 35
        """,
    )
    for loosen in (0, 1, 2):
        assert not fetch_answer(wh, "external_validation", "patient_id", centres=["Leeds"], loosen=loosen)
    found = fetch_answer(wh, "external_validation", "patient_id", "matched_on", centres=["Leeds"], loosen=3)
    assert found == [("neg", "projection"), ("pos", "projection")]


@pytest.mark.slow
def test_teaching_set(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        """
        patient | image  | day
        classic | clas_1 | 2020-04-01
        classic | clas_2 | 2020-04-05
        vague   | vague  | 2020-04-05
        second  | sec_1  | 2020-04-01
        second  | sec_2  | 2020-04-08
        normal  | normal | 2020-04-01
        other   | otherd | 2020-04-02
        both    | both   | 2020-04-01
        old     | old    | 2020-03-01
        ruled   | ruled  | 2020-04-01
        neg     | neg    | 2020-04-05
        negfar  | negfar | 2020-05-01
        """,
        """
        patient | uploaded   | cxr_1      | code_1 | cxr_2      | code_2 | swab       | positive_swab | final
        classic | 2020-05-01 | 2020-04-01 | 1      |            |        |            | 2020-04-01    |
        vague   | 2020-05-01 | 2020-04-05 | 2      |            |        |            | 2020-04-01    |
        second  | 2020-05-01 | 2020-04-01 | 0      | 2020-04-08 | 1      |            | 2020-04-01    |
        normal  | 2020-05-01 | 2020-04-01 | 0      |            |        |            | 2020-04-01    |
        other   | 2020-05-01 | 2020-04-01 | 1      |            |        |            | 2020-04-01    |
        both    | 2020-05-01 | 2020-04-01 | 1      | 2020-04-01 | 2      |            | 2020-04-01    |
        old     | 2020-05-01 | 2020-03-01 | 1      |            |        |            | 2020-04-01    |
        ruled   | 2020-05-01 | 2020-04-01 | 1      |            |        |            | 2020-04-01    | 0
        neg     | 2020-05-01 |            |        |            |        | 2020-04-01 |               |
        negfar  | 2020-05-01 |            |        |            |        | 2020-04-01 |               |
        """,
    )
    # A status record that carries a reading, as the published layout allows.
    for patient, code in (("read", 3), ("likely", 1)):
        film = f"patient | image | day\n{patient} | {patient} | 2020-04-02"
        record = {
            "SwabDate": "01/04/2020",
            "SwabStatus": "0",
            "Date of 1st CXR": "04/02/2020",
            "COVID CODE": str(code),
        }
        more = {**build_objects(film, "patient"), f"training/data/{patient}/status_2020-05-01.json": json.dumps(record)}
        write_objects(tmp_path / "bucket", more)
    warehouse.refresh(str(tmp_path / "bucket"), str(tmp_path / "lake"))
    wh = warehouse.open(str(tmp_path / "lake"), trusted=False)
    key = fetch_answer(wh, "teaching_set", "SOPInstanceUID", "answer", "reading", "case_number", with_answers=True)
    assert [row[:3] for row in key] == [
        ("clas_1", "positive", "read"),
        ("neg", "negative", "unread"),
        ("read", "negative", "read"),
        ("sec_2", "positive", "read"),
        ("vague", "indeterminate", "read"),
    ]
    assert sorted(row[-1] for row in key) == [1, 2, 3, 4, 5]
    questions = fetch_answer(wh, "teaching_set", "SOPInstanceUID", "answer", "reading", "case_number")
    assert questions == [(image, None, None, number) for image, _, _, number in key], "the key is apart"
    few = fetch_answer(wh, "teaching_set", "answer", "reading", per_answer=1, with_answers=True)
    assert few == [("indeterminate", "read"), ("negative", "read"), ("positive", "read")]
    without = fetch_answer(wh, "teaching_set", "SOPInstanceUID", unread=False)
    assert ("neg",) not in without
    assert ("read",) in without


def test_prior_data(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        """
        patient | image | day        | modality | uploaded
        a       | a1    | 2020-04-01 | CT       |
        a       | a2    | 2020-04-09 | CR       |
        a       | a3    |            | CR       | 2020-04-02
        b       | b1    | 2020-04-01 | MR       |
        c       | c1    | 2020-04-01 | CR       |
        """,
    )
    assert fetch_answer(wh, "prior_data", "SOPInstanceUID", patients=["a", "b", "b", "nobody"]) == [
        ("a1",),
        ("a2",),
        ("a3",),
        ("b1",),
    ]
    assert fetch_answer(wh, "prior_data", "SOPInstanceUID", patients="a", until="2020-04-08") == [("a1",)]
    with pytest.raises(warehouse.UsageError, match=r"requires the parameter patients \(VARCHAR\[\]\)"):
        wh.cohort("prior_data")
    counts = {s.step: s.counts["patients"] for s in wh.cohort("prior_data", patients=["a", "nobody"]).steps()}
    assert counts == {"listed": 2, "images_of_listed": 1, "prior_images": 1, "answer": 1}


@pytest.mark.slow
def test_the_numbers_in_the_headers_are_those_of_the_sample_bucket(served_lake: Path) -> None:
    with warehouse.open(str(served_lake), trusted=False) as wh:
        centres = [row[0] for row in wh.sql("select distinct submitting_centre from clinical").fetchall()]
        given = {"external_validation": {"centres": centres}, "prior_data": {"patients": "Covid20"}}
        rows = {name: wh.cohort(name, **given.get(name, {})).rows.to_pylist() for name in cohorts.list_shipped()}
        looser = wh.cohort("external_validation", centres=centres, loosen=3).rows.num_rows
        key = fetch_answer(wh, "teaching_set", "answer", "reading", with_answers=True)
    count = {name: len(found) for name, found in rows.items()}
    people = {name: len({row["patient_id"] for row in found}) for name, found in rows.items()}
    status = Counter(row["covid_status"] for row in rows["covid_risk"])
    censored = all(row["is_censored"] for row in rows["ventilation"])
    stated = {
        "covid_risk": f"{count['covid_risk']} films of {people['covid_risk']} patients, "
        f"{status['positive']} positive and {status['negative']} negative.",
        "external_validation": f"{count['external_validation']} films; with loosen = 3, {looser} films.",
        "teaching_set": f"{count['teaching_set']} films, {key.count(('positive', 'read'))} positive and "
        f"{key.count(('negative', 'unread'))} negative, these unread.",
        "longitudinal_ct": f"{count['longitudinal_ct']} studies of {people['longitudinal_ct']} patient.",
        "ventilation": f"{count['ventilation']} study of {people['ventilation']} patient{', censored' * censored}.",
        "prior_data": f"{count['prior_data']} images of Covid20.",
    }
    for name, words in stated.items():
        assert words in cohorts.load(name).limits, name


def test_every_shipped_cohort_states_its_definition_limits_and_steps() -> None:
    assert len(cohorts.list_shipped()) == 6
    for name in cohorts.list_shipped():
        definition = cohorts.load(name)
        assert definition.definition, name
        assert definition.limits, name
        assert definition.labels or name == "prior_data"
        assert all(step.meaning for step in definition.steps), name
        assert not definition.warnings, name
        cohorts.check_definition(definition)


@pytest.mark.parametrize("name", cohorts.list_shipped())
def test_no_parameter_makes_a_shipped_cohort_fail(name: str) -> None:
    """A day plus a parameter may be out of range, of some patients alone: whether it failed told their days.

    Dates are subtracted from each other, which gives a number that parameters are compared with.
    """
    from sqlglot import exp, parse_one

    parsed = parse_one(cohorts.load(name).sql, dialect="duckdb")
    reckoned = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Cast)
    for parameter in parsed.find_all(exp.Parameter, exp.Placeholder):
        assert not isinstance(parameter.parent, reckoned), parameter.parent.sql("duckdb")
