"""S3 Inventories stand in for listings: the same answers, nothing undone, nothing half believed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from inventories import address, written
from servers import S3, moto

import warehouse
from warehouse.report import status
from warehouse.sample import make
from warehouse.settings import Settings

RECORD = b'{"Pseudonym": "x", "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}'
VERSIONED = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag")


def key(patient: int, day: int = 1) -> str:
    return f"training/Covid{patient}/data/2020-03-{day:02d}/data.json"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with moto() as running:
        yield running


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def by_inventory(bucket: str, below: str = "") -> tuple[str, Settings]:
    return f"s3://{bucket}{below}", Settings(inventory=address(bucket))


def refresh(bucket: str, lake: Path, below: str = "", **more: Any) -> warehouse.RefreshResult:
    source, settings = by_inventory(bucket, below)
    return warehouse.refresh(source, str(lake), settings=settings, **more)


def answers(lake: Path) -> dict[str, Any]:
    """All that users can ask of a lake, but what tells of the refresh itself."""
    with warehouse.open(str(lake)) as wh:
        everything = wh.group("all")
        found: dict[str, Any] = {
            name: sorted(map(str, everything.sql(f"from {name}").fetchall()))
            for name in ("patients", "studies", "series", "images", "clinical", "clinical_history", "headers")
        }
        found["objects"] = everything.sql(
            "select key, size, etag, date_trunc('second', last_modified), kind, available_date from raw.objects order by 1"
        ).fetchall()
        told = ("lake", "snapshot", "published_at", "refreshes", "tables", "reject_reasons", "sources")
        found["status"] = {name: value for name, value in status(everything).items() if name not in told}
    return found


@pytest.fixture(scope="module")
def sample(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bucket of invented patients, with odd keys besides, and a lake that was made by listing it."""
    root = tmp_path_factory.mktemp("inventory")
    make(root / "bucket", 6)
    server.upload(root / "bucket", "sample")
    odd = ("a b+c%20d.txt", "ünï/代.txt", 'quote"comma,.txt', "training/", key(77))
    server.put("sample", dict.fromkeys(odd, RECORD))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        warehouse.refresh("s3://sample", str(root / "listed"))
    return root


@pytest.fixture(scope="module")
def expected(sample: Path) -> dict[str, Any]:
    return answers(sample / "listed")


@pytest.mark.parametrize("form", ["CSV", "ORC", "Parquet"])
def test_answers_are_those_of_a_listing(
    s3: S3, sample: Path, expected: dict[str, Any], tmp_path: Path, form: str
) -> None:
    written(s3, "sample", form, taken_at=datetime.now(UTC) + timedelta(minutes=1))
    result = refresh("sample", tmp_path / "lake")
    assert result.objects.listed == len(expected["objects"])
    assert result.objects.note.startswith("listed by the inventory of ")
    assert answers(tmp_path / "lake") == expected
    # Going over to listing, and back, nothing looks changed.
    for again in (warehouse.refresh("s3://sample", str(tmp_path / "lake")), refresh("sample", tmp_path / "lake")):
        assert (again.objects.added, again.objects.changed, again.objects.removed) == (0, 0, 0)
        assert not again.published.is_new
