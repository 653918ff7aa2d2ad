"""The library as Python users meet it: the docs' snippets, days side by side, read-only, pinned, light."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import Chest, start_lake, write_objects

import warehouse
from warehouse.synthetic import make_bucket

PACKAGE = Path(warehouse.__file__).parent
RECORD = '{"Pseudonym": "Covid77", "SwabStatus": "Negative"}'


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bucket") / "small"
    make_bucket(root, 8)
    return root


@pytest.fixture(scope="module")
def truth(bucket: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bucket / "truth.json").read_text())
    return found


@pytest.fixture(scope="module")
def lake(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake made in this process: `warehouse.refresh` must stay a function thereafter."""
    folder = str(start_lake(tmp_path_factory.mktemp("lake") / "lake"))
    result = warehouse.refresh(str(bucket), folder)
    assert isinstance(result, warehouse.RefreshResult)
    return folder


@pytest.fixture
def wh(lake: str) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(lake) as opened:
        yield opened


@pytest.mark.slow
def test_each_thread_has_a_cursor_of_its_own(wh: warehouse.Warehouse) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(number: int) -> tuple[Any, ...]:
        own = wh.cursor()
        return own.sql("select $n, count(*) from patients", n=number).fetchall()[0], own.as_of("2020-06-01").day

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(ask, range(3), timeout=60))
    n_patients = wh.patients().count("*").fetchall()[0][0]
    assert [row for row, _ in answers] == [(number, n_patients) for number in range(3)]


def test_the_snippets_of_the_docs(lake: str, truth: dict[str, Any]) -> None:
    import polars as pl
    import pyarrow as pa

    wh = warehouse.open(lake)
    modalities = wh.sql("select Modality, count(*) from images group by all").pl()
    assert isinstance(modalities, pl.DataFrame)
    assert dict(modalities.rows()) == truth["modality"]
    patients = wh.as_of("2020-07-01").patients().pl()
    assert 0 < len(patients) < truth["patients"]
    assert set(patients["has_clinical"]) <= {True, False}
    history = wh.patient("Covid1").clinical_history().arrow()
    table = history.read_all() if isinstance(history, pa.RecordBatchReader) else history
    assert table.num_rows > 0
    assert set(table["patient_id"].to_pylist()) == {"Covid1"}
    wh.close()


def test_refresh_stays_a_function(lake: str, bucket: Path) -> None:
    again = warehouse.refresh(str(bucket), lake)
    assert callable(warehouse.refresh)
    assert callable(warehouse.open)
    assert again.published.is_new is False
    assert not (PACKAGE / "refresh").exists()
    assert not (PACKAGE / "refresh.py").exists()


@pytest.mark.slow
def test_days_side_by_side_keep_their_day(wh: warehouse.Warehouse, truth: dict[str, Any]) -> None:
    days = list(truth["as_of"])
    # All asked for first and brought in last, in another order: relations are lazy.
    images = {day: wh.as_of(day).images() for day in days}
    asked = {day: wh.as_of(day).sql("select count(*) from images") for day in days}
    patients = {day: wh.as_of(day).clinical() for day in days}
    for day in reversed(days):
        assert len(images[day].fetchall()) == truth["as_of"][day]["images"]
        assert asked[day].fetchone() == (truth["as_of"][day]["images"],)
        assert len(patients[day].fetchall()) == truth["as_of"][day]["patients"]
    assert len(wh.images().fetchall()) == truth["image_json"]
    assert len({row["images"] for row in truth["as_of"].values()}) > 2


def test_as_of_and_group_go_together(wh: warehouse.Warehouse) -> None:
    day = wh.group("validation").as_of("2021-06-30")
    assert (day.group_name, str(day.day)) == ("validation", "2021-06-30")
    assert day.images().fetchall() == []
    assert len(day.group("all").images().fetchall()) > 0


def test_every_view_of_a_patient(wh: warehouse.Warehouse) -> None:
    patient = wh.patient("Covid1")
    ((count,),) = patient.summary().select("n_images").fetchall()
    assert len(patient.images().fetchall()) == count > 0
    for rows in (patient.studies(), patient.series(), patient.timeline(), patient.records()):
        assert rows.fetchall()
    (day,) = wh.sql("select min(available_date) from clinical_history where patient_id = 'Covid1'").fetchone() or (
        None,
    )
    assert len(patient.known_at(day).fetchall()) == 1
    assert patient.known_at("1999-01-01").fetchall() == []
    with pytest.raises(warehouse.NotFoundError, match="Nobody"):
        wh.patient("Nobody")
    with pytest.raises(warehouse.UsageError, match="not a day"):
        wh.as_of("soon")


def test_parameters_are_bound_not_pasted(wh: warehouse.Warehouse) -> None:
    text = "'; drop view patients; --"
    assert wh.sql("select $text as answer", text=text).fetchone() == (text,)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from core.images",
        "drop view lake.main.patients",
        "create table lake.main.mine as select 1 as one",
    ],
)
def test_the_lake_is_read_only(wh: warehouse.Warehouse, statement: str) -> None:
    with pytest.raises(warehouse.UsageError, match="read-only"):
        wh.sql(statement)
    with pytest.raises(duckdb.Error, match="read-only"):
        wh.con.execute(statement)


@pytest.mark.slow
def test_pinned_while_another_process_refreshes(chest: Chest, tmp_path: Path) -> None:
    bucket, lake = tmp_path / "bucket", tmp_path / "lake"
    write_objects(bucket, {"training/Covid77/data/2020-03-01/data.json": RECORD})
    first = warehouse.refresh(str(bucket), str(lake)).published.snapshot
    count = "select count(*) from clinical_history"
    with warehouse.open(str(lake)) as wh:
        lazy = wh.sql(count)
        write_objects(bucket, {"training/Covid77/data/2020-03-02/data.json": RECORD})
        done = chest("refresh", bucket, "--lake", lake, "-q")
        assert done.returncode == 0, done.stderr
        assert lazy.fetchone() == wh.sql(count).fetchone() == wh.as_of("2021-01-01").sql(count).fetchone() == (1,)
    with warehouse.open(str(lake)) as wh:
        assert wh.snapshot.number > first
        assert wh.sql(count).fetchone() == (2,)
    with warehouse.open(str(lake), snapshot=first) as wh:
        assert wh.sql(count).fetchone() == (1,)


def test_the_lake_of_the_environment(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_LAKE", lake)
    with warehouse.open() as wh:
        assert wh.patients().fetchall()


def test_all_public_names_are_there() -> None:
    for name in warehouse.__all__:
        assert getattr(warehouse, name) is not None
    for name in ("LakeError", "SourceError", "UsageError", "NotFoundError"):
        assert issubclass(getattr(warehouse, name), warehouse.WarehouseError)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = warehouse.nonsense


@pytest.mark.parametrize("module", ["warehouse", "warehouse.cli"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"dagster", "boto3", "botocore", "pyarrow", "polars", "pydicom", "pandas", "obstore", "duckdb"}
    assert heavy.isdisjoint(done.stdout.split())


def test_the_library_never_imports_dagster() -> None:
    sources = list(PACKAGE.rglob("*.py"))
    assert len(sources) > 15
    for path in sources:
        assert not re.search(r"^\s*(import|from)\s+(dagster|pipelines)\b", path.read_text(), re.MULTILINE), path


def test_the_former_name_of_an_error_still_works() -> None:
    with pytest.warns(DeprecationWarning, match="UntrustedSqlError"):
        assert warehouse.ForeignSqlError is warehouse.UntrustedSqlError
