"""The shipped cohorts on tiny drawn tables: who is in, who is out, and why."""

from pathlib import Path

import pytest
from drawn import answer, lake

import warehouse
from warehouse import cohorts


def test_covid_risk(tmp_path: Path) -> None:
    wh = lake(
        tmp_path,
        """
        patient | image    | day        | modality | view | body    | study
        pos     | pos_near | 2020-04-03 |          |      |         |
        pos     | pos_edge | 2020-04-15 |          | PA   |         |
        pos     | pos_late | 2020-04-16 |          |      |         |
        pos     | pos_side | 2020-04-03 |          | LL   |         |
        pos     | pos_ct   | 2020-04-03 | CT       |      |         |
        pos     | pos_abd  | 2020-04-03 |          |      | ABDOMEN |
        pos     | pos_bare | 2020-03-18 | DX       | none | none    |
        pcr     | by_pcr   | 2020-05-10 |          |      |         |
        ruled   | ruledout | 2020-04-01 |          |      |         |
        nodate  | no_swab  | 2020-04-01 |          |      |         |
        neg     | neg_near | 2020-06-01 |          |      |         |
        mixed   | negpos   | 2020-06-01 |          |      |         |
        nobody  | norecord | 2020-06-01 |          |      |         |
        """,
        """
        patient | uploaded   | positive_swab | pcr | pcr_day    | final    | swab       | swab_status
        pos     | 2020-05-01 | 2020-04-01    |     |            |          |            |
        pcr     | 2020-06-01 |               | 1   | 2020-05-12 |          |            |
        ruled   | 2020-05-01 | 2020-04-01    |     |            | 0        |            |
        nodate  | 2020-05-01 |               | 1   |            |          |            |
        neg     | 2020-06-05 |               |     |            |          | 2020-06-03 |
        mixed   | 2020-06-05 |               |     |            |          | 2020-06-03 | 1
        """,
    )
    assert answer(wh, "covid_risk", "SOPInstanceUID", "covid_status", "swab_date", "days_from_swab") == [
        ("by_pcr", "positive", "2020-05-12", -2),
        ("neg_near", "negative", "2020-06-03", -2),
        ("pos_bare", "positive", "2020-04-01", -14),
        ("pos_edge", "positive", "2020-04-01", 14),
        ("pos_near", "positive", "2020-04-01", 2),
    ]
    near = answer(wh, "covid_risk", "SOPInstanceUID", days_before=0, days_after=2)
    assert near == [("pos_near",)], "before the swab, or later than two days after it"
    assert answer(wh.as_of("2020-05-31"), "covid_risk", "SOPInstanceUID") == [
        ("pos_bare",),
        ("pos_edge",),
        ("pos_near",),
    ], "the others' swabs were not known yet"


def test_ventilation(tmp_path: Path) -> None:
    wh = lake(
        tmp_path,
        """
        patient  | image     | day
        vent     | vent_old  | 2020-03-01
        vent     | vent_in   | 2020-04-01
        vent     | vent_next | 2020-04-02
        late     | late_in   | 2020-04-01
        not      | not_in    | 2020-03-31
        already  | already   | 2020-04-02
        same     | same      | 2020-04-01
        when     | when      | 2020-04-01
        unknown  | unknown   | 2020-04-01
        lost     | lost      | 2020-04-01
        dead     | dead_in   | 2020-04-01
        far      | far       | 2020-04-03
        """,
        """
        patient | uploaded   | admitted   | intubated | intubated_on | alive_on   | death | died_on    | positive_swab
        vent    | 2020-04-09 | 2020-04-01 | 1         | 2020-04-05   |            |       |            | 2020-04-01
        late    | 2020-06-09 | 2020-04-01 | 1         | 2020-05-20   |            |       |            | 2020-04-01
        not     | 2020-04-28 | 2020-04-01 | 0         |              | 2020-04-09 |       |            | 2020-04-01
        already | 2020-06-09 | 2020-04-01 | 1         | 2020-04-01   |            |       |            | 2020-04-01
        same    | 2020-06-09 | 2020-04-01 | 1         | 2020-04-01   |            |       |            | 2020-04-01
        when    | 2020-06-09 | 2020-04-01 | 1         |              |            |       |            | 2020-04-01
        unknown | 2020-06-09 | 2020-04-01 |           |              |            |       |            | 2020-04-01
        lost    | 2020-04-09 | 2020-04-01 | 0         |              | 2020-04-09 |       |            | 2020-04-01
        dead    | 2020-04-09 | 2020-04-01 | 0         |              |            | 1     | 2020-04-08 | 2020-04-01
        far     | 2020-06-09 | 2020-04-01 | 0         |              |            |       |            | 2020-04-01
        """,
    )
    assert answer(wh, "ventilation", "patient_id", "StudyDate", "ventilated", "days_to_ventilation", "died") == [
        ("dead", "2020-04-01", False, None, True),
        ("late", "2020-04-01", False, None, False),
        ("not", "2020-03-31", False, None, False),
        ("vent", "2020-04-01", True, 4, False),
    ]
    assert {step.step: step.counts["patients"] for step in wh.cohort("ventilation").steps()} == {
        "film_studies": 10,
        "of_admitted": 10,
        "index_films": 9,  # far: two days after admission
        "known_outcome": 7,  # when, unknown
        "not_yet_ventilated": 5,  # already, same
        "followed_up": 4,  # lost
        "answer": 4,
    }
    assert ("late", True) in answer(wh, "ventilation", "patient_id", "ventilated", horizon=60)


def test_external_validation(tmp_path: Path) -> None:
    films = ["patient | image | day | view | model"]
    records = ["patient | uploaded | positive_swab | swab | centre"]
    for n, (view, centre, is_positive) in enumerate(
        [("AP", "Leeds", True)] * 3
        + [("AP", "Leeds", False)] * 2
        + [("PA", "Leeds", True)] * 1
        + [("PA", "Leeds", False)] * 3
        + [("AP", "Bath", True), ("AP", "Bath", False)]
    ):
        films.append(f"p{n} | near{n} | 2020-04-02 | {view} | {'One' if n % 2 else 'Two'}")
        films.append(f"p{n} | later{n} | 2020-04-09 | {view} | One")
        swab = "2020-04-01"
        records.append(f"p{n} | 2020-05-01 | {swab if is_positive else ''} | {'' if is_positive else swab} | {centre}")
    wh = lake(tmp_path, "\n".join(films), "\n".join(records))

    def cells(**parameters: object) -> dict[tuple[object, object], int]:
        found = answer(wh, "external_validation", "ViewPosition", "covid_status", "patient_id", **parameters)
        assert len({row[2] for row in found}) == len(found), "one film a patient"
        return {key: [row[:2] for row in found].count(key) for key in {row[:2] for row in found}}

    ap, pa = {("AP", "positive"), ("AP", "negative")}, {("PA", "positive"), ("PA", "negative")}
    assert cells() == {**dict.fromkeys(ap, 3), **dict.fromkeys(pa, 1)}
    assert cells(centres=["  leeds"]) == {**dict.fromkeys(ap, 2), **dict.fromkeys(pa, 1)}, "Bath was trained on"
    assert cells(centres=["Bath"]) == dict.fromkeys(ap, 1)
    assert cells(centres=["Oxford"]) == {}
    images = {row[0] for row in answer(wh, "external_validation", "SOPInstanceUID")}
    assert all(str(name).startswith("near") for name in images), "the film nearest to the swab"
    draws = [tuple(answer(wh, "external_validation", "SOPInstanceUID", draw=n)) for n in (2, 1, 3)]
    assert len(set(draws)) > 1
    assert draws[1] == tuple(answer(wh, "external_validation", "SOPInstanceUID")), "drawn alike each time"
    models = {row[0] for row in answer(wh, "external_validation", "ManufacturerModelName", scanners=["Two"])}
    assert models == {"Two"}


def test_teaching_set(tmp_path: Path) -> None:
    wh = lake(
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
        neg     | neg    | 2020-04-11
        negfar  | negfar | 2020-05-01
        """,
        """
        patient | uploaded   | cxr_1      | code_1 | cxr_2      | code_2 | swab       | positive_swab
        classic | 2020-05-01 | 2020-04-01 | 1      |            |        |            | 2020-04-01
        vague   | 2020-05-01 | 2020-04-05 | 2      |            |        |            | 2020-04-01
        second  | 2020-05-01 | 2020-04-01 | 0      | 2020-04-08 | 1      |            | 2020-04-01
        normal  | 2020-05-01 | 2020-04-01 | 0      |            |        |            | 2020-04-01
        other   | 2020-05-01 | 2020-04-01 | 1      |            |        |            | 2020-04-01
        both    | 2020-05-01 | 2020-04-01 | 1      | 2020-04-01 | 2      |            | 2020-04-01
        neg     | 2020-05-01 |            |        |            |        | 2020-04-01 |
        negfar  | 2020-05-01 |            |        |            |        | 2020-04-01 |
        """,
    )
    key = answer(wh, "teaching_set", "SOPInstanceUID", "answer", "case_number", with_answers=True)
    assert [row[:2] for row in key] == [
        ("clas_1", "positive"),
        ("neg", "negative"),
        ("sec_2", "positive"),
        ("vague", "indeterminate"),
    ]
    assert sorted(row[2] for row in key) == [1, 2, 3, 4]
    questions = answer(wh, "teaching_set", "SOPInstanceUID", "answer", "case_number")
    assert questions == [(image, None, number) for image, _, number in key], "the key is apart, the numbers the same"
    few = answer(wh, "teaching_set", "answer", per_answer=1, with_answers=True)
    assert few == [("indeterminate",), ("negative",), ("positive",)]


def test_longitudinal_ct(tmp_path: Path) -> None:
    wh = lake(
        tmp_path,
        """
        patient | image | study | day        | modality | body  | words
        twice   | t1    | T1    | 2020-04-01 | CT       |       |
        twice   | t2    | T1    | 2020-04-01 | CT       |       |
        twice   | t3    | T2    | 2020-04-20 | CT       | none  | CT Thorax
        twice   | t4    | T3    | 2020-04-20 | CT       | HEAD  | CT Head
        twice   | t5    | T4    | 2020-05-01 | CR       |       |
        once    | o1    | O1    | 2020-04-01 | CT       |       |
        sameday | d1    | D1    | 2020-04-01 | CT       |       |
        sameday | d2    | D2    | 2020-04-01 | CT       |       |
        """,
    )
    columns = ("StudyInstanceUID", "scan_number", "days_since_first", "n_slices")
    assert answer(wh, "longitudinal_ct", *columns) == [("T1", 1, 0, 2), ("T2", 2, 19, 1)]
    assert answer(wh, "longitudinal_ct", *columns, min_days=20) == []
    assert answer(wh.as_of("2020-04-19"), "longitudinal_ct", *columns) == [], "the second was not there yet"
    assert len(answer(wh, "longitudinal_ct", *columns, min_studies=1, min_days=0)) == 5


def test_prior_data(tmp_path: Path) -> None:
    wh = lake(
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
    assert answer(wh, "prior_data", "SOPInstanceUID", patients=["a", "b", "b", "nobody"]) == [
        ("a1",),
        ("a2",),
        ("a3",),
        ("b1",),
    ]
    assert answer(wh, "prior_data", "SOPInstanceUID", patients="a", until="2020-04-08") == [("a1",)]
    with pytest.raises(warehouse.UsageError, match=r"must be given patients \(VARCHAR\[\]\)"):
        wh.cohort("prior_data")
    counts = {s.step: s.counts["patients"] for s in wh.cohort("prior_data", patients=["a", "nobody"]).steps()}
    assert counts == {"listed": 2, "images_of_listed": 1, "prior_images": 1, "answer": 1}


def test_every_shipped_cohort_says_its_definition_and_limits_and_explains_its_steps() -> None:
    assert len(cohorts.shipped()) == 6
    for name in cohorts.shipped():
        definition = cohorts.load(name)
        assert definition.definition, name
        assert definition.limits, name
        assert definition.labels or name == "prior_data"
        assert all(step.meaning for step in definition.steps), name
        assert not definition.warnings, name
        cohorts.check(definition)
