"""A bucket that refreshes load in units, by workers or by Spark, and the tables of a calm lake of it.

Not a conftest.py of their own: tests import from `conftest`, and there is one.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

import warehouse
from warehouse.lake import location
from warehouse.lake import store as lakes
from warehouse.settings import Settings

TABLES = ("raw.objects", "raw.headers", "raw.records", "core.images", "core.clinical", "core.clinical_issues")
ALONE = Settings(workers=1)


def write_header(number: int, modality: str = "CR") -> str:
    """A header of a film."""
    return json.dumps(
        {"00080060": {"vr": "CS", "Value": [modality]}, "0020000D": {"vr": "UI", "Value": [f"1.{number}"]}}
    )


def build_objects(patients: range) -> dict[str, bytes | str]:
    """A film and a record of each patient, over three years; every ninth is not what its key states."""
    objects: dict[str, bytes | str] = {}
    for n in patients:
        day = f"{2020 + n % 3}-03-0{1 + n % 9}"
        place = f"training/P{n}"
        objects[f"{place}/images/{day}/{n}.dcm"] = b"film"
        objects[f"{place}/images_metadata/{day}/{n}.json"] = write_header(n) if n % 9 else "no header"
        objects[f"{place}/data/{day}/data.json"] = (
            json.dumps({"Pseudonym": f"P{n}", "SwabStatus": "Negative", "Age": f"{n}"}) if n % 9 != 4 else b"\xff"
        )
    return objects


def read_tables(lake: object) -> dict[str, Any]:
    """The rows of every table that a refresh fills, in an order of their own; rejects without their times."""
    con, _ = lakes.open_reader(location.parse_address(str(lake)), Settings())
    try:
        wanted = {name: f"select * from {name}" for name in TABLES}
        wanted["ops.rejects"] = "select * exclude (first_seen, last_seen) from ops.rejects"
        return {name: sorted(con.execute(query).fetchall(), key=repr) for name, query in wanted.items()}
    finally:
        con.close()


def read_rejects(lake: Path, kind: str) -> list[tuple[str, str, bool]]:
    """Key, reason and whether it is tried again, of each reject of a kind."""
    con, _ = lakes.open_reader(location.parse_address(str(lake)), Settings())
    with contextlib.closing(con):
        return con.execute("select key, reason, retry from ops.rejects where kind = $kind", {"kind": kind}).fetchall()


@pytest.fixture(scope="module")
def unit_bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket of seventy patients."""
    folder = tmp_path_factory.mktemp("units") / "bucket"
    from conftest import write_objects  # which loads this module

    write_objects(folder, build_objects(range(70)))
    return folder


@pytest.fixture(scope="module")
def calm_tables(unit_bucket: Path) -> dict[str, Any]:
    """The tables of a lake that one process has loaded."""
    from conftest import start_lake

    lake = start_lake(unit_bucket.with_name("calm"))
    warehouse.refresh(unit_bucket, lake, settings=ALONE)
    return read_tables(lake)
