"""Loading in several plans: the lake is that of a single plan, whatever the layout and the size of a plan."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write_objects
from dicom_files import build_file
from support.unit_fixtures import build_objects, read_tables, write_header

import warehouse
from warehouse.ingest import list_objects, load_clinical, load_images, open_run, planning
from warehouse.settings import Settings

PATIENTS = 70


def make_dated(folder: Path) -> None:
    """Seventy films and records, some unreadable, some with their .dcm elsewhere, and another group between."""
    objects = build_objects(range(PATIENTS))
    for n in range(0, PATIENTS, 5):
        del objects[f"training/P{n}/images/{2020 + n % 3}-03-0{1 + n % 9}/{n}.dcm"]
        objects[f"training/P{n}/images/2020-02-0{1 + n % 7}/{n}.dcm"] = b"earlier"
    objects["validation/P5/images/2020-02-02/5.dcm"] = b"of another group, so not of this image"
    objects["test/Q1/images_metadata/2020-03-01/q.json"] = write_header(1001)
    objects["test/Q1/images/2020-02-01/q.dcm"] = b"film"
    write_objects(folder, objects)


def make_any(folder: Path) -> None:
    """Files whose keys name no patient."""
    files: dict[str, bytes | str] = {f"{n % 4}/{n}": build_file(f"P{n % 5}", f"1.{n}") for n in range(23)}
    write_objects(folder, {**files, "3/broken.dcm": b"not DICOM"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "layout", "size"),
    [
        (make_dated, "standard", 31),
        (make_dated, "standard", PATIENTS + 1),  # as many as there are headers
        (make_any, "any", 9),
    ],
)
def test_plans_of_any_size_make_the_same_lake(
    make: Callable[[Path], None], layout: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "bucket")
    settings = Settings(workers=1, layout=layout)
    whole = warehouse.refresh(tmp_path / "bucket", tmp_path / "whole", settings=settings)
    monkeypatch.setattr(planning, "PLAN_SIZE", size)
    parts = warehouse.refresh(tmp_path / "bucket", tmp_path / "parts", settings=settings)
    assert (parts.images, parts.clinical) == (whole.images, whole.clinical)
    assert parts.images.loaded > 10
    assert read_tables(tmp_path / "parts") == read_tables(tmp_path / "whole")


@pytest.mark.slow
def test_an_object_whose_row_another_program_has_doubled_is_loaded_once(tmp_path: Path) -> None:
    write_objects(tmp_path / "bucket", build_objects(range(6)))
    with open_run(str(tmp_path / "bucket"), str(tmp_path / "lake")) as run:
        list_objects(run)
        run.commit("by another program", lambda: run.con.execute("insert into raw.objects from raw.objects"))
        assert (load_images(run).loaded, load_clinical(run).loaded) == (5, 5)
        for table in ("core.images", "raw.headers", "core.clinical", "raw.records"):
            found = run.con.execute(f"select count(*), count(distinct key) from {table}").fetchall()
            assert found == [(5, 5)]
