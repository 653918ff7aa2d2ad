"""Dates and times that no calendar of Python has, in a few headers: the worklist and the explorer show all others."""

import json
from collections.abc import Iterator

import pytest
from conftest import start_lake
from served import Served, serve_thread

import warehouse
from warehouse.service.explorer.charts import fill_months
from warehouse.service.explorer.rounding import Value
from warehouse.synthetic import make_bucket

DATES = ("00000101", "00010101", "99991231")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    bucket = tmp_path_factory.mktemp("dates") / "bucket"
    make_bucket(bucket, 6, seed=1)
    paths = sorted(bucket.glob("training/*/images_metadata/*/*.json"))
    for path, day in zip(paths[:3], DATES, strict=True):
        header = json.loads(path.read_text())
        header["00080020"] = header["00100030"] = {"vr": "DA", "Value": [day]}
        header["00080030"] = {"vr": "TM", "Value": ["240000"]}
        header["0020000D"] = {"vr": "UI", "Value": [f"1.2.{DATES.index(day)}"]}
        path.write_text(json.dumps(header))
    lake = start_lake(bucket.with_name("lake"))
    warehouse.refresh(str(bucket), str(lake))
    with serve_thread(lake) as running:
        yield running


@pytest.mark.slow
def test_worklists_have_the_dates_of_the_headers(served: Served) -> None:
    for number, day in enumerate(DATES):
        found = served.get(f"/dicomweb/studies?StudyInstanceUID=1.2.{number}&includefield=all").json()
        assert found[0]["00080020"]["Value"] == [day]
        assert found[0].get("00080030", {}).get("Value", ["240000"]) == ["240000"]
    for path in ("studies", "series?includefield=all", "instances?includefield=all"):
        assert len(served.get(f"/dicomweb/{path}").json()) > 3


@pytest.mark.slow
def test_the_explorer_shows_all_patients(served: Served) -> None:
    page = served.get("/explore/patients").text
    patients = {part.split('"')[0].split("&")[0] for part in page.split("/explore/patient?id=")[1:]}
    assert patients
    for patient in patients:
        assert served.get(f"/explore/patient?id={patient}").status_code == 200
    assert served.get("/explore?exact=1").status_code == 200


def test_a_wrong_date_does_not_hide_the_months() -> None:
    counts = {"0000-01": 1, "2020-03": 9, "2020-05": 4, "9999-12": 1}
    shown = fill_months([Value(month, month, count, is_chosen=False) for month, count in counts.items()])
    assert [(value.value, value.count) for value in shown] == [("2020-03", 9), ("2020-04", 0), ("2020-05", 4)]
