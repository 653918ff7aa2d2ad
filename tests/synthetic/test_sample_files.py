"""The .dcm of a sample bucket: files that pydicom reads, with the attributes of their headers, and slices in space."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest
from conftest import start_lake
from typer.testing import CliRunner

import warehouse
from warehouse import synthetic
from warehouse.cli import commands

PATIENTS = 60
#: RLE Lossless and JPEG 2000.
COMPRESSED = {"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "bucket"
    synthetic.make_bucket(path, PATIENTS, seed=1)
    return path


def headers_of(path: Path) -> Path:
    return Path(str(path).replace("/images/", "/images_metadata/")).with_suffix(".json")


def plain(header: dict[str, Any]) -> dict[str, Any]:
    """A header without nulls where elements should be, which some gateways write and pydicom does not read."""
    found = {}
    for tag, element in header.items():
        if element is not None:
            found[tag] = {name: value for name, value in element.items() if value is not None}
            if element["vr"] == "SQ":
                found[tag]["Value"] = [plain(item) for item in element.get("Value", [])]
    return found


def texts(dataset: pydicom.Dataset) -> dict[str, Any]:
    """The values of a data set, numbers as numbers."""
    found: dict[str, Any] = {}
    for element in dataset:
        if element.VR == "SQ":
            found[str(element.tag)] = [texts(item) for item in element.value]
        elif element.VR in ("DS", "IS"):
            values = element.value if element.VM > 1 else [element.value] if element.VM else []
            found[str(element.tag)] = [None if value is None or value == "" else float(value) for value in values]
        else:
            found[str(element.tag)] = str(element.value or "")
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_file_is_read_and_agrees_with_its_header(bucket: Path) -> None:
    syntaxes: Counter[str] = Counter()
    compared = 0
    for path in bucket.rglob("*.dcm"):
        file = pydicom.dcmread(path)
        syntaxes[file.file_meta.TransferSyntaxUID] += 1
        assert file.pixel_array.shape == (file.Rows, file.Columns)
        assert file.file_meta.MediaStorageSOPInstanceUID == file.SOPInstanceUID
        del file.PixelData
        if headers_of(path).exists():
            compared += 1
            header = pydicom.Dataset.from_json(plain(json.loads(headers_of(path).read_bytes())))
            assert texts(file) == texts(header), path
    assert compared > 300
    assert syntaxes.keys() == {"1.2.840.10008.1.2.1", *COMPRESSED}


def test_the_pixels_are_the_same_however_they_are_compressed(bucket: Path) -> None:
    frames: dict[str, set[bytes]] = {}
    for path in bucket.rglob("*.dcm"):
        file = pydicom.dcmread(path)
        if file.Modality == "CT":
            frames.setdefault(file.file_meta.TransferSyntaxUID, set()).add(file.pixel_array.tobytes())
    assert len(set().union(*frames.values())) == 8, "four frames with haze and four without"
    assert all(frames[syntax] <= frames["1.2.840.10008.1.2.1"] for syntax in COMPRESSED)


@pytest.mark.slow
def test_the_warehouse_finds_the_volumes_that_the_truth_has(bucket: Path, tmp_path: Path) -> None:
    warehouse.refresh(str(bucket), str(start_lake(tmp_path / "lake")))
    truth = json.loads((bucket / "truth.json").read_text())["ct_series"]
    kind = (
        "case when is_volume then 'even' when n_slices = 1 then 'single' when n_missing = 1 then 'gap'"
        " when n_doubled = 1 then 'doubled' when shear_degrees > 5 then 'tilted' end"
    )
    with warehouse.open(str(tmp_path / "lake")) as wh:
        found = wh.sql(f"select {kind} as kind, count(*) from volume_geometry where Modality = 'CT' group by kind")
        assert dict(found.fetchall()) == {name: n for name, n in truth.items() if name != "localizer"}
        tilts = wh.sql(
            "select abs(shear_degrees - GantryDetectorTilt) from volume_geometry where GantryDetectorTilt > 0"
        ).fetchall()
        best = wh.sql(
            "select count(*), count(distinct StudyInstanceUID) from chest_ct_series where best = 1"
        ).fetchone()
    assert len(tilts) == truth["tilted"] > 0
    assert max(tilts)[0] < 0.01
    assert best is not None
    assert best[0] == best[1] > 0


def test_stubs_change_nothing_but_the_files(bucket: Path, tmp_path: Path) -> None:
    words = ["sample", str(tmp_path / "b"), "--patients", str(PATIENTS), "--seed", "1", "--stubs", "-q"]
    assert CliRunner().invoke(commands.create_app(), words).exit_code == 0
    files = [path.relative_to(bucket) for path in bucket.rglob("*") if path.is_file()]
    differ = [path for path in files if (bucket / path).read_bytes() != (tmp_path / "b" / path).read_bytes()]
    assert {path.suffix for path in differ} == {".dcm"}
    assert {(tmp_path / "b" / path).read_bytes() for path in differ} == {b"DICM"}
    assert {path.suffix for path in files} == {".dcm", ".json", ".jsonl"}
