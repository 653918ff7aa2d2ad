"""Concept chest_ct_series, and the columns of view series about acquisition, on series written as DICOM files."""

from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake, write_objects
from slices import Stack, objects

import warehouse

LONG = tuple(range(40))
SCOUT = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
CORONAL = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}


def lake(folder: Path, *stacks: Stack) -> warehouse.Warehouse:
    write_objects(folder / "bucket", objects(stacks))
    warehouse.refresh(str(folder / "bucket"), str(start_lake(folder / "lake")))
    return warehouse.open(str(folder / "lake"))


def series(name: str, kernel: str | None = None, thickness: float = 1.0, **changes: Any) -> Stack:
    shared = {"SliceThickness": thickness, **({"ConvolutionKernel": kernel} if kernel else {})}
    return Stack(name, **{"heights": LONG, **changes, "shared": shared | changes.get("shared", {})})


@pytest.mark.slow
def test_series_are_ranked_and_the_others_set_apart_with_a_reason(tmp_path: Path) -> None:
    gap = tuple(n for n in LONG if n != 20)
    stacks = (
        series("lung", "B60f"),
        series("soft", "B30f", 1.25),
        series("thick", "LUNG", 5.0, heights=LONG[:10], spacing=5.0),
        series("gap", "B70f", 0.6, heights=gap),
        series("scout", shared=SCOUT),
        series("cor", "B30f", shared=CORONAL),
        series("mip", shared={"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
        series("thin MIP", "B30f"),
        series("mpr", shared={"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}),
        series("screen", shared={"ImageType": ["ORIGINAL", "SECONDARY", "OTHER"]}),
        series("film", shared={"ImagePositionPatient": None}),
        series("head", shared={"BodyPartExamined": "HEAD"}),
    )
    with lake(tmp_path, *stacks) as wh:
        shown = wh.chest_ct_series().select(
            "SeriesDescription, set_apart, best, best_lung, best_soft, kernel_class, is_thin, is_volume"
        )
        rows = {row[0]: row[1:] for row in shown.fetchall()}
        best = wh.sql("select SeriesDescription from chest_ct_series where best = 1", trusted=False).fetchall()
        assert not wh.group("validation").chest_ct_series().fetchall()
        assert not wh.as_of("2020-03-31").chest_ct_series().fetchall()
    assert best == [("lung",)]
    assert rows.pop("lung") == (None, 1, 1, None, "lung", True, True)
    assert rows.pop("soft") == (None, 2, None, 1, "soft", True, True)
    assert rows.pop("thick") == (None, 3, 2, None, "lung", False, True)
    assert rows.pop("gap") == (None, 4, 3, None, "lung", True, False)
    assert {name: row[0] for name, row in rows.items()} == {
        "scout": "localizer",
        "cor": "not axial",
        "mip": "mip",
        "thin MIP": "mip",
        "mpr": "derived",
        "screen": "secondary",
        "film": "no geometry",
        "head": "other part",
    }
    assert {row[1:4] for row in rows.values()} == {(None, None, None)}


#: Kernels as the makers name them, and the words of a series where the header has none.
KERNELS = {
    "LUNG": "lung", "BONEPLUS": "lung", "STANDARD": "soft", "DETAIL": "soft", "B31f": "soft", "B70s": "lung",
    "I26f\\3": "soft", "I70f\\3": "lung", "Br40d": "soft", "Bl57f": "lung", "Bl64d": "lung", "Hr60": "lung",
    "L": "lung", "YC": "lung", "B": "soft", "FC51": "lung", "FC86": "lung", "FC08": "soft", "FC18": "soft",
    "Q9": "unknown", "-Lung 1.0": "lung", "-Mediastinum": "soft", "-Thorax": "unknown", "-Lung and soft": "unknown",
}  # fmt: skip


def test_kernels_of_the_makers(tmp_path: Path) -> None:
    stacks = [
        series(f"{n:02}{name}" if name[0] == "-" else f"{n:02}", None if name[0] == "-" else name, heights=(0, 1))
        for n, name in enumerate(KERNELS)
    ]
    with lake(tmp_path, *stacks) as wh:
        rows = wh.sql("select kernel_class from chest_ct_series order by SeriesDescription").fetchall()
    assert dict(zip(KERNELS, (row[0] for row in rows), strict=True)) == KERNELS


def test_a_study_sent_for_two_patients_has_one_best_series(tmp_path: Path) -> None:
    with lake(tmp_path, series("a", patient="a"), series("b", patient="b")) as wh:
        assert wh.sql("select patient_id, best from chest_ct_series").fetchall() == [("a", 1)]
        assert wh.sql("select patient_id from chest_ct").fetchall() == [("a",)]


@pytest.fixture(scope="module")
def made_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    same = {
        "KVP": "120", "ConvolutionKernel": ["I30f", "3"], "ContrastBolusAgent": "OMNI", "Exposure": "100",
        "XRayTubeCurrent": "200", "PatientPosition": "HFS",
    }  # fmt: skip
    mixed = {
        0: {"KVP": "100", "ConvolutionKernel": ["I30f", "2"], "Exposure": "50", "Rows": 5, "PixelSpacing": [0.7, 0.8]},
        1: {"ContrastBolusAgent": None, "XRayTubeCurrent": "90", "ImageType": ["DERIVED", "PRIMARY"]},
        2: {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "SliceThickness": "2"},
    }
    stacks = (
        Stack("same", shared=same),
        Stack("mixed", shared=same, own=mixed),
        Stack("sag", shared={"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}),
        Stack("tilted", shared={"ImageOrientationPatient": [1, 0, 0, 0, 0.9, -0.43589]}),
        Stack("oblique", shared={"ImageOrientationPatient": [1, 0, 0, 0, 0.7071, -0.7071]}),
    )
    with lake(tmp_path_factory.mktemp("made"), *stacks) as wh:
        found = wh.series()
        return {
            row[found.columns.index("SeriesDescription")]: dict(zip(found.columns, row, strict=True))
            for row in found.fetchall()
        }


def test_what_images_of_a_series_share_is_shown(made_of: dict[str, dict[str, Any]]) -> None:
    row = made_of["same"]
    right = {
        "Rows": 4, "Columns": 4, "PixelSpacing": [0.7, 0.7], "SliceThickness": 1, "KVP": 120,
        "ConvolutionKernel": ["I30f", "3"], "ContrastBolusAgent": "OMNI", "exposure_min": 100, "exposure_max": 100,
        "tube_current_min": 200, "tube_current_max": 200, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "NumberOfFrames": None, "PatientPosition": "HFS",
        "orientation_class": "axial", "varies": [],
    }  # fmt: skip
    assert {name: row[name] for name in right} == right


def test_where_images_differ_the_column_is_null_and_varies_names_it(made_of: dict[str, dict[str, Any]]) -> None:
    row = made_of["mixed"]
    names = [
        *("Rows", "PixelSpacing", "SliceThickness", "KVP", "ConvolutionKernel", "ContrastBolusAgent", "ImageType"),
        "orientation_class",
    ]
    assert row["varies"] == names
    assert [row[name] for name in names] == [None] * len(names)
    assert (row["exposure_min"], row["exposure_max"], row["tube_current_min"], row["tube_current_max"]) == (
        50,
        100,
        90,
        200,
    )
    assert row["Columns"] == 4


@pytest.mark.parametrize(("name", "right"), [("sag", "sagittal"), ("tilted", "axial"), ("oblique", "oblique")])
def test_the_plane_of_a_series(name: str, right: str, made_of: dict[str, dict[str, Any]]) -> None:
    assert made_of[name]["orientation_class"] == right
