"""What happens to a lake outside of the program is one line of the house in Python too, whatever is called."""

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import write_objects
from servers import serve_postgres

import warehouse
from warehouse.lake.backup import create
from warehouse.lake.maintenance import maintain
from warehouse.manifests import register, reproduce
from warehouse.query.status import measure_status

COHORT = "-- title: t\n-- question: q?\n-- grain: patient\nselect patient_id from patients\n"


def objects_of(patient: str) -> dict[str, bytes | str]:
    header = {"00080018": {"vr": "UI", "Value": [f"1.{patient[1:]}"]}, "00080060": {"vr": "CS", "Value": ["CR"]}}
    record = {"Pseudonym": patient, "SwabStatus": "Negative", "SubmittingCentre": "Leeds"}
    return {
        f"training/{patient}/images_metadata/2020-03-01/1.json": json.dumps(header),
        f"training/{patient}/data/2020-03-01/data.json": json.dumps(record),
    }


#: What reads rows of the lake, and so meets a damaged file; and what asks its catalogue.
READING: dict[str, Callable[[warehouse.Warehouse, str, Path], object]] = {
    "check": lambda wh, lake, folder: wh.check(),
    "report": lambda wh, lake, folder: wh.report(folder / "report.html"),
    "patient": lambda wh, lake, folder: wh.patient("P1"),
    "rows of a cohort": lambda wh, lake, folder: wh.cohort(folder / "c.sql").rows,
    "steps of a cohort": lambda wh, lake, folder: wh.cohort(folder / "c.sql").steps(),
    "export": lambda wh, lake, folder: wh.cohort(folder / "c.sql").export(folder / "other"),
    "untrusted": lambda wh, lake, folder: wh.sql("from patients", trusted=False),
    "status": lambda wh, lake, folder: measure_status(wh),
    "reproduce": lambda wh, lake, folder: reproduce.reproduce(warehouse.manifest(folder / "made"), lake),
    "register": lambda wh, lake, folder: register.list_entries(lake),
    "refresh": lambda wh, lake, folder: warehouse.refresh(str(folder / "bucket"), lake),
    "maintain": lambda wh, lake, folder: maintain(lake),
}
CATALOGUE: dict[str, Callable[[warehouse.Warehouse, str, Path], object]] = {
    **READING,
    "open": lambda wh, lake, folder: warehouse.open(lake),
    "views": lambda wh, lake, folder: wh.studies(),
    "rejects": lambda wh, lake, folder: wh.rejects(),
    "as_of": lambda wh, lake, folder: wh.as_of("2020-03-01"),
    "group": lambda wh, lake, folder: wh.group("elsewhere"),
    "cursor": lambda wh, lake, folder: wh.cursor(),
    "sql": lambda wh, lake, folder: wh.sql("from images"),
    "backup": lambda wh, lake, folder: create.backup(folder / "backup", lake),
}


def make(lake: str, folder: Path) -> None:
    write_objects(folder / "bucket", {**objects_of("P1"), **objects_of("P2")})
    warehouse.refresh(str(folder / "bucket"), lake)
    (folder / "c.sql").write_text(COHORT)
    with warehouse.open(lake) as wh:
        wh.cohort(folder / "c.sql").export(folder / "made")
    write_objects(folder / "bucket", objects_of("P3"))


def meet(call: Callable[[], Any]) -> str:
    """The one line that a call raises as an error of the house, "" where it goes well; any other error is raised."""
    caught: list[warehouse.WarehouseError] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except warehouse.WarehouseError as error:
            caught.append(error)
    assert all(len(str(error).splitlines()) == 1 and error.exit_code == 2 for error in caught), caught
    return str(caught[0]) if caught else ""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[warehouse.Warehouse, str, Path]]:
    """A lake that was opened before its files were overwritten."""
    folder = tmp_path_factory.mktemp("damaged")
    lake = str(folder / "lake")
    make(lake, folder)
    with warehouse.open(lake) as wh:
        for path in (folder / "lake").rglob("*.parquet"):
            path.write_bytes(b"x" * path.stat().st_size)
        yield wh, lake, folder


@pytest.mark.parametrize("name", READING)
def test_a_damaged_file_is_one_line(damaged: tuple[warehouse.Warehouse, str, Path], name: str) -> None:
    assert meet(lambda: READING[name](*damaged))


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[warehouse.Warehouse, str, Path]]:
    """A lake that was opened before the server of its catalogue stopped."""
    folder = tmp_path_factory.mktemp("cut")
    with contextlib.ExitStack() as running:
        server = running.enter_context(serve_postgres())
        server.run("create database faults")
        lake = server.address("faults", folder / "files")
        make(lake, folder)
        with warehouse.open(lake) as wh:
            running.close()
            yield wh, lake, folder


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_catalogue_that_is_gone_is_one_line(cut_off: tuple[warehouse.Warehouse, str, Path], name: str) -> None:
    message = meet(lambda: CATALOGUE[name](*cut_off))
    assert message or name in ("as_of", "cursor", "group"), "these do not query it"


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path: Path) -> None:
    import duckdb

    from warehouse.engine.faults import explain_faults

    with pytest.raises(duckdb.BinderException), explain_faults():
        duckdb.sql("select nothing_of_that_name")
    with pytest.raises(warehouse.LakeError, match="CHEST_MEMORY_LIMIT_MB"), explain_faults():
        raise MemoryError
