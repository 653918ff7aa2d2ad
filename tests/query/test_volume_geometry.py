"""View volume_geometry on series written as real DICOM files, beside highdicom, which reads those files itself."""

import io
import math
import tempfile
from pathlib import Path
from typing import Any

import pydicom
import pytest
from conftest import start_lake, write_objects
from highdicom.spatial import get_series_volume_positions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slices import Stack, objects

import warehouse


def lake(folder: Path, *stacks: Stack) -> warehouse.Warehouse:
    write_objects(folder / "bucket", objects(stacks))
    warehouse.refresh(str(folder / "bucket"), str(start_lake(folder / "lake")))
    return warehouse.open(str(folder / "lake"))


def geometry(wh: warehouse.Warehouse) -> dict[str, dict[str, Any]]:
    """The rows of volume_geometry by the description of their series."""
    rows = wh.sql(
        "select series.SeriesDescription, volume_geometry.* from volume_geometry"
        " inner join series using (patient_id, StudyInstanceUID, SeriesInstanceUID)"
    )
    names = rows.columns
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows.fetchall()}


def spacing_of_highdicom(stack: Stack) -> float | None:
    """The spacing that highdicom finds in the files of a stack; None where it finds no volume."""
    files = [pydicom.dcmread(io.BytesIO(body)) for key, body in objects([stack]).items() if key.endswith(".dcm")]  # type: ignore[arg-type]
    return get_series_volume_positions(files, orientation_tol=0.0001)[0]


#: What may be done to a stack of evenly spaced slices; the values chosen with it, and what must be measured.
FAULTS = ("none", "gap", "double", "tilt", "uneven")


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Stack, str, float]:
    """A stack of any orientation, spacing and order; what is wrong with it, and by how much."""
    part = st.floats(-1, 1)
    turn = draw(st.tuples(part, part, part, part).filter(lambda q: math.hypot(*q) > 0.1))
    heights: list[float] = list(range(draw(st.integers(7, 14))))
    fault = draw(st.sampled_from(FAULTS))
    size, tilt = 0.0, 0.0
    inner = draw(st.integers(2, len(heights) - 4))
    if fault == "gap":
        size = draw(st.integers(1, 2))
        del heights[inner : inner + int(size)]
    elif fault == "double":
        size = 1
        heights.insert(inner, inner)
    elif fault == "tilt":
        size = tilt = draw(st.floats(5, 30)) * draw(st.sampled_from((1, -1)))
    elif fault == "uneven":
        size = draw(st.floats(0.05, 0.4))
        heights[inner] += size
    stack = Stack(
        "one",
        tuple(heights),
        spacing=draw(st.floats(0.3, 10)),
        turn=turn,
        tilt=tilt,
        origin=draw(st.tuples(*[st.floats(-500, 500)] * 3)),
        order=tuple(draw(st.permutations(range(len(heights))))),
    )
    return stack, fault, size


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(stacks(), min_size=25, max_size=25))
def test_any_stack_is_measured_and_judged_as_highdicom_does(stacks: list[tuple[Stack, str, float]]) -> None:
    named = [(stack.with_(name=f"s{n:02}"), fault, size) for n, (stack, fault, size) in enumerate(stacks)]
    with tempfile.TemporaryDirectory() as folder, lake(Path(folder), *(stack for stack, *_ in named)) as wh:
        found = geometry(wh)
    assert len(found) == len(named)
    for stack, fault, size in named:
        row, theirs = found[stack.name], spacing_of_highdicom(stack)
        assert row["is_volume"] == (fault == "none") == (theirs is not None), (stack, row)
        if theirs is not None:
            assert row["slice_spacing"] == pytest.approx(theirs, rel=1e-4)
        assert row["n_slices"] == len(stack.heights)
        assert row["n_missing"] == (size if fault == "gap" else 0)
        assert row["n_doubled"] == (size if fault == "double" else 0)
        assert row["unique_slice_positions"] == (fault != "double")
        assert row["shear_degrees"] == pytest.approx(abs(size) if fault == "tilt" else 0, abs=0.01)
        assert (row["consistent_in_plane_row"] and row["consistent_in_plane_col"]) == (fault != "tilt")
        assert row["uniform_slice_spacing"] == (fault in ("none", "tilt"))
        assert row["slice_spacing"] == pytest.approx(stack.spacing, rel=1e-4)
        assert row["single_orientation"]
        assert row["orthogonal_orientation"]
        assert row["last_position"] - row["first_position"] == pytest.approx(
            stack.spacing * (max(stack.heights) - min(stack.heights)), rel=1e-4
        )


TURNED = {"ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6]}

#: A series that is not a volume, or is one in spite of something, and the test that decides it.
JUDGED: dict[str, tuple[Stack, str]] = {
    "plain": (Stack("plain"), ""),
    "two": (Stack("two", (0, 1)), ""),
    "one": (Stack("one", (0,)), "uniform_slice_spacing"),
    "all at one place": (Stack("pile", (0, 0, 0)), "unique_slice_positions uniform_slice_spacing"),
    "turned": (Stack("turned", own={2: TURNED}), "single_orientation consistent_in_plane_col uniform_slice_spacing"),
    "not of unit length": (
        Stack("long", shared={"ImageOrientationPatient": [1.1, 0, 0, 0, 0.90909, 0]}),
        "orthogonal_orientation",
    ),
    "not at right angles": (
        Stack("skew", shared={"ImageOrientationPatient": [1, 0, 0, 0.1, 0.99498743710662, 0]}),
        "orthogonal_orientation",
    ),
    "another matrix": (Stack("rows", own={1: {"Rows": 5}}), "consistent_image_dimensions"),
    "no matrix": (Stack("bare", own={1: {"PixelSpacing": None}}), "consistent_pixel_spacing"),
    "another pixel": (Stack("pixel", own={1: {"PixelSpacing": [0.7, 0.8]}}), "consistent_pixel_spacing"),
    "a little turned": (Stack("near", own={1: {"ImageOrientationPatient": [1, 0.00001, 0, -0.00001, 1, 0]}}), ""),
    "beside": (Stack("beside", own={3: {"ImagePositionPatient": [-120.3, -98.25, 36]}}), "consistent_in_plane_row"),
    "uneven within a hundredth": (Stack("even", (0, 1, 2.005, 3, 4)), ""),
    "uneven": (Stack("uneven", (0, 1, 2.02, 3, 4)), "uniform_slice_spacing"),
}
CHECKS = (
    *("single_orientation", "orthogonal_orientation", "unique_slice_positions", "consistent_in_plane_row"),
    *("consistent_in_plane_col", "consistent_pixel_spacing", "consistent_image_dimensions", "uniform_slice_spacing"),
)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    with lake(tmp_path_factory.mktemp("judged"), *(stack for stack, _ in JUDGED.values())) as wh:
        return geometry(wh)


@pytest.mark.parametrize("name", JUDGED)
def test_each_test_of_a_volume_fails_for_its_own_reason(name: str, judged: dict[str, dict[str, Any]]) -> None:
    stack, failing = JUDGED[name]
    row = judged[stack.name]
    assert [check for check in CHECKS if not row[check]] == sorted(failing.split(), key=CHECKS.index)
    assert row["is_volume"] == (not failing)


def test_images_without_a_place_localizers_and_projections(tmp_path: Path) -> None:
    stacks = (
        Stack("lost", own={2: {"ImagePositionPatient": None}}),
        Stack("frames", own={2: {"NumberOfFrames": 2}}),
        Stack("film", shared={"ImagePositionPatient": None}),
        Stack("scout", shared={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        Stack("mip", shared={"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]}),
    )
    with lake(tmp_path, *stacks) as wh:
        found = geometry(wh)
    assert {
        name: (row["n_images"], row["n_slices"], row["n_unplaced"], row["is_volume"]) for name, row in found.items()
    } == {
        "lost": (6, 5, 1, False),
        "frames": (6, 5, 1, False),
    }


@pytest.mark.slow
def test_an_image_that_was_sent_twice_is_one_slice_and_rows_obey_day_and_group(tmp_path: Path) -> None:
    sent = objects([Stack("again")])
    again = {
        key.replace("again-003", "copy").replace("2020-04-01", "2020-04-09"): body
        for key, body in sent.items()
        if "again-003" in key
    }
    late = {key.replace("2020-04-01", "2020-04-05"): body for key, body in sent.items() if "again-004" in key}
    write_objects(
        tmp_path / "bucket",
        {key: body for key, body in sent.items() if "again-004" not in key} | late | again,
    )
    warehouse.refresh(str(tmp_path / "bucket"), str(start_lake(tmp_path / "lake")))
    shown = "n_images, n_slices, n_doubled, n_missing, is_volume"
    with warehouse.open(str(tmp_path / "lake")) as wh:
        assert wh.volume_geometry().select(shown).fetchall() == [(7, 6, 0, 0, True)]
        assert wh.as_of("2020-04-05").volume_geometry().select(shown).fetchall() == [(6, 6, 0, 0, True)]
        assert wh.as_of("2020-04-04").volume_geometry().select(shown).fetchall() == [(5, 5, 0, 1, False)]
        assert not wh.as_of("2020-03-31").volume_geometry().fetchall()
        assert not wh.group("validation").volume_geometry().fetchall()
        assert wh.sql(f"select {shown} from volume_geometry", trusted=False).fetchall() == [(7, 6, 0, 0, True)]
