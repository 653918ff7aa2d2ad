"""Both sample buckets, loaded: every number of their truth.json, by the command and by Python."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import warehouse

DAYS = ["2020-03-31", "2020-05-15", "2020-07-01", "2020-10-01", "2021-06-30"]
COUNTS = ["objects", "image_json", "clinical_json", "patients", "studies", "series", "modality"]


@pytest.fixture(scope="module", params=["dated", "published"])
def bucket(request: pytest.FixtureRequest, samples: Path) -> Path:
    return samples / request.param


@pytest.fixture(scope="module")
def lake(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(bucket.name) / "lake"
    warehouse.refresh(str(bucket), str(path))
    return path


@pytest.fixture(scope="module")
def wh(lake: Path) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(str(lake)) as opened:
        yield opened


@pytest.fixture(scope="module")
def truth(bucket: Path) -> dict[str, Any]:
    return json.loads((bucket / "truth.json").read_text())


def digest(latest: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(latest, sort_keys=True).encode()).hexdigest()


def test_truth_knows_the_days(truth: dict[str, Any]) -> None:
    assert sorted(truth["as_of"]) == DAYS


@pytest.mark.slow(after=1)
def test_status_without_a_day(here: Any, lake: Path, truth: dict[str, Any]) -> None:
    found = json.loads(here("status", "--lake", lake, "--format", "json").stdout)
    assert {name: found[name] for name in COUNTS} == {name: truth[name] for name in COUNTS}
    assert found["objects"] == sum(found[n] for n in ("image_json", "clinical_json", "rejected", "dcm", "other"))
    assert (found["rejected"], found["dcm"], found["other"]) == (0, truth["image_json"], 0)
    assert isinstance(found["snapshot"], int)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("day", DAYS)
def test_status_as_of_a_day(here: Any, lake: Path, truth: dict[str, Any], day: str) -> None:
    found = json.loads(here("status", "--lake", lake, "--as-of", day, "--format", "json").stdout)
    assert found["as_of"] == {day: truth["as_of"][day]}


@pytest.mark.parametrize("day", DAYS)
def test_views_as_of_a_day(wh: warehouse.Warehouse, truth: dict[str, Any], day: str) -> None:
    then = wh.as_of(day)
    latest = dict(then.sql("select patient_id, available_date::varchar from clinical").fetchall())
    images = then.sql("select count(*), count(dcm_key) from images").fetchone()
    found = {"patients": len(latest), "images": images[0], "latest_digest": digest(latest)}
    assert found == truth["as_of"][day]
    assert images[1] == images[0], "every image was sent with its .dcm on the same day"
    assert then.sql("select count(*) filter (has_clinical), sum(n_images) from patients").fetchone() == (
        len(latest),
        images[0],
    )


def test_newest_file_is_the_one_in_the_bucket(wh: warehouse.Warehouse, bucket: Path) -> None:
    pattern = "{}/data/*/data.json" if bucket.name == "dated" else "data/{}/data_*.json"
    positive = wh.sql("select patient_id, key from clinical where kind = 'data'").fetchall()
    assert len(positive) > 20
    for patient, key in positive:
        files = sorted((bucket / "training").glob(pattern.format(patient)))
        assert key in {str(file.relative_to(bucket)) for file in files}
        if bucket.name == "published":
            assert key == str(files[-1].relative_to(bucket))


def test_records_are_kept_whole(wh: warehouse.Warehouse, bucket: Path) -> None:
    records = wh.sql("select key, record from raw.records").fetchall()
    assert all(json.loads(record) == json.loads((bucket / key).read_text()) for key, record in records)
    assert len(records) == wh.clinical_history().count("*").fetchone()[0]


@pytest.mark.slow
def test_second_refresh_does_nothing(here: Any, bucket: Path, lake: Path) -> None:
    before = json.loads(here("status", "--lake", lake, "--format", "json").stdout)
    again = json.loads(here("refresh", bucket, "--lake", lake, "--format", "json").stdout)
    after = json.loads(here("status", "--lake", lake, "--format", "json").stdout)
    assert again["published"]["is_new"] is False
    assert (again["images"]["loaded"], again["clinical"]["loaded"], again["objects"]["added"]) == (0, 0, 0)
    assert after == before
