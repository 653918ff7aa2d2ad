"""A generated bucket, refreshed: every cell, every rule and every fault that its truth knows, in both layouts.

The truth was written down where each value was made up (warehouse/synthetic), apart from the cleaning.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake

import warehouse
from warehouse import synthetic
from warehouse.catalog import columns

PATIENTS, SEED = 150, 10  # few patients who have everything that can go wrong
OF_PATIENTS = {
    "death_before_admission",
    "images_without_clinical",
    "intubation_without_itu",
    "negative_with_positive_result",
    "record_of_another_patient",
}
File = tuple[str, str, str]


@pytest.fixture(scope="module", params=synthetic.LAYOUTS)
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "bucket"
    synthetic.make_bucket(path, PATIENTS, request.param, SEED)
    return path


@pytest.fixture(scope="module")
def wh(bucket: Path) -> Iterator[warehouse.Warehouse]:
    warehouse.refresh(str(bucket), str(start_lake(bucket.parent / "lake")))
    with warehouse.open(str(bucket.parent / "lake")) as opened:
        yield opened


@pytest.fixture(scope="module")
def truth(bucket: Path) -> dict[str, Any]:
    return json.loads((bucket / "truth.json").read_text())


@pytest.fixture(scope="module")
def files(bucket: Path) -> dict[File, dict[str, Any]]:
    return {(line["patient_id"], line["kind"], line["available_date"]): line for line in lines(bucket, "clinical")}


def lines(bucket: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bucket / f"truth_{name}.jsonl").read_text().splitlines()]


def plain(value: Any) -> Any:
    """A value of the lake as JSON has it."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [{name: plain(part) for name, part in item.items()} for item in value]
    return value


def same(found: Any, meant: Any) -> bool:
    if {type(found), type(meant)} <= {int, float}:
        return math.isclose(found, meant, rel_tol=1e-9)
    return type(found) is type(meant) and found == meant


@pytest.mark.slow
def test_every_cell_of_every_file(wh: warehouse.Warehouse, files: dict[File, dict[str, Any]]) -> None:
    names = [column.name for column in columns.load_relations()["core.clinical"].columns if column.section != "object"]
    rows = wh.sql("select * from clinical_history").pl().to_dicts()
    assert {(row["patient_id"], row["kind"], plain(row["available_date"])) for row in rows} == files.keys()
    wrong, filled = [], Counter[str]()
    for row in rows:
        line = files[row["patient_id"], row["kind"], plain(row["available_date"])]
        meant = line["values"] | {f"{name}_unit": unit for name, unit in line["units"].items()}
        if meant.get("submitting_centre"):
            meant["centre"] = " ".join(meant["submitting_centre"].split()).lower()
        assert meant.keys() <= set(names)
        filled.update(meant.keys())
        wrong += [
            (row["key"], name, meant.get(name), row[name])
            for name in names
            if not same(plain(row[name]), meant.get(name))
        ]
    assert wrong == []
    assert set(names) == filled.keys(), "every column has a value somewhere"


@pytest.mark.slow
def test_every_rule_of_every_value(wh: warehouse.Warehouse, files: dict[File, dict[str, Any]]) -> None:
    found: dict[File, Counter[tuple[str, str]]] = {file: Counter() for file in files}
    query = """
        select patient_id, kind, cast(available_date as varchar), field, rule
        from clinical_issues join clinical_history using (source, key, patient_id, available_date)
    """
    for patient, kind, day, field, rule in wh.sql(query).fetchall():
        found[patient, kind, day][field, rule] += 1
    owed = {file: Counter((field, rule) for field, rule in line["issues"]) for file, line in files.items()}
    wrong = {file: (owed[file] - found[file], found[file] - owed[file]) for file in files if found[file] != owed[file]}
    assert wrong == {}


def test_rules_as_counted(wh: warehouse.Warehouse, truth: dict[str, Any]) -> None:
    found = wh.sql("select rule, count(*) from clinical_issues group by rule").fetchall()
    assert dict(found) == truth["clinical_issues"]


def test_age_and_sex_are_filled_from_headers_and_marked(wh: warehouse.Warehouse, bucket: Path) -> None:
    names = ("age", "age_source", "sex", "sex_source")
    rows = wh.sql(f"select patient_id, {', '.join(names)} from patients").fetchall()
    meant = {line["patient_id"]: tuple(line[name] for name in names) for line in lines(bucket, "patients")}
    assert {patient for patient, *_ in rows} == meant.keys()
    wrong = [row for row in rows if not all(map(same, row[1:], meant[row[0]]))]
    assert wrong == []


@pytest.mark.parametrize("fault", sorted(synthetic.truth.FAULTS))
def test_every_fault_is_found_and_nothing_else(wh: warehouse.Warehouse, truth: dict[str, Any], fault: str) -> None:
    (result,) = wh.check(fault)
    rows = result.rows.to_pylist()
    if fault == "new_field":
        found = {row["field"] for row in rows}
    elif fault in OF_PATIENTS:
        found = {row["patient_id"] for row in rows}
    else:
        found = {Path(row["key"]).stem for row in rows}
    assert sorted(found) == truth["faults"][fault]
    assert found


@pytest.mark.slow
def test_a_clean_bucket_passes_every_check(tmp_path: Path) -> None:
    synthetic.make_bucket(tmp_path / "bucket", 40, clean=True)
    warehouse.refresh(str(tmp_path / "bucket"), str(start_lake(tmp_path / "lake")))
    with warehouse.open(str(tmp_path / "lake")) as wh:
        assert {result.check.name: result.n_rows for result in wh.check() if result.n_rows} == {}
