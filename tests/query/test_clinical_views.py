"""clinical_changes, completeness, clinical_issues and patients: what changed, how full, and from where."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake, write_objects

import warehouse

LEEDS = {"SubmittingCentre": "Leeds"}


def key(patient: str, day: str, name: str = "data") -> str:
    return f"training/data/{patient}/{name}_{day}.json"


FILES: dict[str, dict[str, Any]] = {
    key("P1", "2020-03-01", "status"): {**LEEDS, "SwabDate": "28/02/2020", "SwabStatus": "0"},
    key("P1", "2020-03-20"): {**LEEDS, "1st RT-PCR result": "0", "Death": "0", "Age": "70", "Ethnicity": "A"},
    key("P1", "2020-03-25", "status"): {**LEEDS, "SwabDate": "25/03/2020", "SwabStatus": "0"},
    key("P1", "2020-04-02"): {**LEEDS, "1st RT-PCR result": "1", "Death": 0, "Age": "70.0", "Ethnicity": "A"},
    key("P1", "2020-05-09"): {
        **LEEDS,
        "1st RT-PCR result": "1",
        "Death": 1,
        "Date of death": "05/05/2020",
        "Age": 70,
        "Ethnicity": "99",
    },
    key("P2", "2020-03-05"): {"Age": "unknown", "Sex": "2", "Date of admission": "31/03/2020"},
    key("P3", "2020-03-05", "status"): {**LEEDS, "Age": "0.5", "Sex": "F"},
}


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    root = tmp_path_factory.mktemp("views")
    headers = {
        f"training/xray-metadata/{patient}/1.2/1.3/1.4.{n}.json": json.dumps(
            {"00080018": {"Value": [f"1.4.{n}"]}, "00101010": {"Value": [age]}, "00100040": {"Value": ["M"]}}
        )
        for n, (patient, age) in enumerate({"P1": "066Y", "P2": "018M", "P4": "010W", "P5": "073D", "P6": "81"}.items())
    }
    write_objects(root / "bucket", {**{name: json.dumps(fields) for name, fields in FILES.items()}, **headers})
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    with warehouse.open(str(root / "lake")) as opened:
        yield opened


def changes(wh: warehouse.Warehouse, where: str) -> list[tuple[Any, ...]]:
    return wh.sql(
        "select available_date::varchar, field, old_value, new_value, old_key, new_key "
        f"from clinical_changes where {where} order by all"
    ).fetchall()


def test_a_flip_of_a_result_and_a_death_are_dated(wh: warehouse.Warehouse) -> None:
    first, second, third = (key("P1", day) for day in ("2020-03-20", "2020-04-02", "2020-05-09"))
    flip = ("2020-04-02", "first_rt_pcr_result", "Negative", "Positive", first, second)
    assert changes(wh, "field = 'first_rt_pcr_result' and old_value is not null") == [flip]
    assert changes(wh, "available_date = '2020-04-02'") == [flip], "70 and 70.0, 0 and '0' are no change"
    assert changes(wh, "available_date = '2020-05-09'") == [
        ("2020-05-09", "date_of_death", None, "2020-05-05", second, third),
        ("2020-05-09", "death", "false", "true", second, third),
        ("2020-05-09", "ethnicity", "White", "Unknown", second, third),
    ]
    assert not changes(wh.as_of("2020-05-08"), "field = 'death' and new_value = 'true'")


def test_the_step_from_status_to_data_is_a_change_and_a_later_status_is_not(wh: warehouse.Warehouse) -> None:
    status, first = key("P1", "2020-03-01", "status"), key("P1", "2020-03-20")
    assert changes(wh, "field = 'kind'") == [("2020-03-20", "kind", "status", "data", status, first)]
    assert not changes(wh, f"'{key('P1', '2020-03-25', 'status')}' in (old_key, new_key)")
    assert not changes(wh, "patient_id <> 'P1'")


def test_completeness_counts_the_files_that_count(wh: warehouse.Warehouse) -> None:
    def share(of: warehouse.Warehouse, column: str) -> list[tuple[Any, ...]]:
        return of.sql(
            "select submitting_centre, month::varchar, kind, n_records, n_filled, share from completeness "
            "where column_name = $column order by all",
            column=column,
        ).fetchall()

    assert share(wh, "age") == [
        ("Leeds", "2020-03-01", "status", 1, 1, 1.0),
        ("Leeds", "2020-05-01", "data", 1, 1, 1.0),
        (None, "2020-03-01", "data", 1, 0, 0.0),
    ]
    assert share(wh, "death") == [("Leeds", "2020-05-01", "data", 1, 1, 1.0), (None, "2020-03-01", "data", 1, 0, 0.0)]
    assert [row[4] for row in share(wh, "ethnicity")] == [0, 0, 0], "Unknown is not filled"
    assert share(wh.as_of("2020-03-31"), "swab_status") == [("Leeds", "2020-03-01", "status", 1, 0, 0.0)]
    assert [row[4] for row in share(wh.as_of("2020-03-31"), "ethnicity")] == [1, 0, 0]


def test_age_and_sex_come_from_the_record_and_else_from_the_header(wh: warehouse.Warehouse) -> None:
    rows = wh.sql("select patient_id, age, age_source, sex, sex_source from patients order by 1").fetchall()
    assert rows == [
        ("P1", 70.0, "record", "M", "header"),
        ("P2", 1.5, "header", "M", "header"),
        ("P3", 1.0, "record", "F", "record"),
        ("P4", 10 / 52, "header", "M", "header"),
        ("P5", 73 / 365, "header", "M", "header"),
        ("P6", 81.0, "header", "M", "header"),
    ]
    then = wh.as_of("2020-02-01").sql("select count(*) from patients").fetchone()
    assert then == (0,)


def test_patients_show_course_and_outcome(wh: warehouse.Warehouse) -> None:
    ask = "select death, date_of_death::varchar, first_rt_pcr_result, ethnicity from patients where patient_id = 'P1'"
    assert wh.sql(ask).fetchall() == [(True, "2020-05-05", "Positive", "Unknown")]
    assert wh.as_of("2020-03-31").sql(ask).fetchall() == [(False, None, "Negative", "White")]


def test_issues_obey_the_as_of_date_and_name_field_value_and_rule(wh: warehouse.Warehouse) -> None:
    ask = (
        "select field, column_name, raw_value, clean_value, rule, effect from clinical_issues where patient_id = 'P2' "
        "order by all"
    )
    assert wh.sql(ask).fetchall() == [
        ("Age", "age", "unknown", None, "not_a_number", "nulled"),
        ("Date of admission", "date_of_admission", "31/03/2020", None, "date_outside_window", "nulled"),
        ("Sex", "sex", "2", None, "sex_not_known", "nulled"),
    ]
    assert wh.as_of("2020-03-04").sql(ask).fetchall() == []


@pytest.mark.slow
def test_issues_go_with_their_file(tmp_path: Path, new_lake: Path, chest: Callable[..., Any]) -> None:
    bucket, lake = tmp_path / "bucket", str(new_lake)
    write_objects(bucket, {key("P1", "2020-03-20"): '{"Age": "x"}', key("P2", "2020-03-20"): '{"Age": "y"}'})

    def raw() -> list[tuple[Any, ...]]:
        warehouse.refresh(str(bucket), lake, allow_removals=True)
        with warehouse.open(lake) as opened:
            return opened.sql("select raw_value from clinical_issues order by all").fetchall()

    assert raw() == [("x",), ("y",)]
    write_objects(bucket, {key("P1", "2020-03-20"): '{"Age": "instead"}'})
    assert raw() == [("instead",), ("y",)]
    (bucket / key("P2", "2020-03-20")).unlink()
    assert raw() == [("instead",)]
