"""The worked examples of the reference, by the real path: a bucket of files, a refresh, SQL over `clinical`."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake, write_objects

import warehouse
from warehouse.catalog import columns

CASES = list(csv.DictReader((Path(__file__).parent.parent / "data/cleaning_cases.csv").open()))
COLUMN = {column.name: column for column in columns.list_record_columns()}


def key_of(case: dict[str, str]) -> str:
    """The key of the record that a case is about: an alias where its reason names one, else the column's own."""
    column = COLUMN[case["column"]]
    if named := re.match(r"Under the (?:mistyped|former) key (?:PMH )?([^:]+):", case["reason"]):
        (alias,) = (key for key in column.other_keys if key.endswith(named[1]))
        return alias
    return column.source


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    root = tmp_path_factory.mktemp("cases")
    objects = {
        f"training/P{n:03}/data/2022-12-31/data.json": json.dumps({key_of(case): json.loads(case["raw"])})
        for n, case in enumerate(CASES)
    }
    write_objects(root / "bucket", objects)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    with warehouse.open(str(root / "lake")) as opened:
        yield opened


def plain(value: Any) -> Any:
    """A value of the lake as the cases write it."""
    if isinstance(value, list):
        return [{name: plain(part) for name, part in item.items()} for item in value]
    return str(value) if hasattr(value, "isoformat") else value


def test_the_cases_name_aliases() -> None:
    assert sum(key_of(case) != COLUMN[case["column"]].source for case in CASES) == 8


@pytest.mark.parametrize("place", range(len(CASES)), ids=lambda n: f"{CASES[n]['column']}-{CASES[n]['raw']}")
def test_case(rows: dict[str, dict[str, Any]], place: int) -> None:
    case, row = CASES[place], rows[f"P{place:03}"]
    assert plain(row.get(case["column"])) == json.loads(case["expected"]), case["reason"]


@pytest.fixture(scope="module")
def rows(wh: warehouse.Warehouse) -> dict[str, dict[str, Any]]:
    return {row["patient_id"]: row for row in wh.clinical().to_arrow_table().to_pylist()}


def test_a_value_that_did_not_stay_as_it_was_has_an_issue(
    wh: warehouse.Warehouse, rows: dict[str, dict[str, Any]]
) -> None:
    found = {row[0] for row in wh.sql("select distinct patient_id from clinical_issues").fetchall()}
    for place, case in enumerate(CASES):
        raw, expected = json.loads(case["raw"]), json.loads(case["expected"])
        is_blank = raw is None or (isinstance(raw, str) and not raw.strip())
        if expected is None and not is_blank:
            assert f"P{place:03}" in found, case
        if is_blank:
            assert f"P{place:03}" not in found, case
