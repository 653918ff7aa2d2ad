"""Frames and rendered images of the files that pydicom brings along: every transfer syntax, colours, many frames."""

import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from conftest import copy_lake, start_lake
from dicomweb_client.web import DICOMwebClient
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut
from served import Served, serve_process, serve_thread
from servers import S3

import warehouse
from warehouse.lake import location
from warehouse.object_store.base import Buffer, Content, ReadFailure
from warehouse.object_store.folder import FolderBucket
from warehouse.service.dicomweb.errors import UndecodableError
from warehouse.service.dicomweb.frames import open_pixels, read_decoded, rewrite_explicit
from warehouse.service.dicomweb.objects import Buckets
from warehouse.service.dicomweb.studies import Stored, write_path
from warehouse.settings import Settings, load_settings
from warehouse.withdrawal import changing

#: Files of pydicom, by what is special about them.
NAMES = {
    "explicit": "CT_small.dcm",
    "implicit": "MR_small_implicit.dcm",
    "big endian": "MR_small_bigendian.dcm",
    "deflated": "image_dfl.dcm",
    "RLE": "MR_small_RLE.dcm",
    "JPEG 2000": "MR_small_jp2klossless.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG lossless": "SC_rgb_jpeg_gdcm.dcm",
    "JPEG": "SC_rgb_jpeg_dcmtk.dcm",
    "colour": "examples_rgb_color.dcm",
    "colour by plane": "ExplVR_BigEnd.dcm",
    "palette": "examples_palette.dcm",
    "30 frames": "examples_ybr_color.dcm",
    "15 frames": "rtdose.dcm",
    "15 frames in RLE": "rtdose_rle.dcm",
    "2 frames": "SC_rgb_rle_16bit_2frame.dcm",
    "one bit": "liver_1frame.dcm",
}


def read(name: str) -> pydicom.Dataset:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    dataset = pydicom.dcmread(folder / NAMES[name])
    number = [*NAMES].index(name) + 1
    # Some of the files share their UIDs, and have no series.
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.1.1"
    return dataset


def path_of(name: str) -> str:
    number = [*NAMES].index(name) + 1
    return f"/dicomweb/studies/1.2.3.{number}/series/1.2.3.{number}.1/instances/1.2.3.{number}.1.1"


def write_bucket(bucket: Path, *names: str) -> None:
    """A bucket with a patient for each file."""
    warnings.simplefilter("ignore")
    for name in names:
        dataset, patient = read(name), f"training/P{[*NAMES].index(name)}"
        images, headers = (bucket / patient / part / "2020-05-01" for part in ("images", "images_metadata"))
        images.mkdir(parents=True)
        headers.mkdir(parents=True)
        dataset.save_as(images / "1.dcm")
        header = {tag: value for tag, value in dataset.to_json_dict(suppress_invalid_tags=True).items() if tag < "7FE0"}
        (headers / "1.json").write_text(json.dumps(header))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    bucket = tmp_path_factory.mktemp("pydicom") / "bucket"
    write_bucket(bucket, *NAMES)
    lake = start_lake(bucket.with_name("lake"))
    warehouse.refresh(str(bucket), str(lake))
    with serve_thread(lake) as running:
        yield running


def get(served: Served, path: str, accept: str) -> bytes:
    response = served.get(path, headers={"Accept": accept})
    assert response.status_code == 200, response.text
    return response.content


@pytest.mark.parametrize("name", NAMES)
def test_decoded_frames_are_the_pixels(served: Served, name: str) -> None:
    dataset = read(name)
    expected = dataset.pixel_array
    n_frames = int(dataset.get("NumberOfFrames", 1))
    frames = expected if n_frames > 1 else expected[np.newaxis]
    for number in sorted({1, n_frames}):
        found = get(served, f"{path_of(name)}/frames/{number}", "application/octet-stream")
        frame = frames[number - 1]
        if dataset.BitsAllocated == 1:
            bits = np.unpackbits(np.frombuffer(found, np.uint8), bitorder="little")[: frame.size]
            assert np.array_equal(bits.reshape(frame.shape), frame)
            continue
        if dataset.get("PlanarConfiguration") == 1:
            frame = np.moveaxis(frame, -1, 0)
        assert np.array_equal(np.frombuffer(found, frame.dtype.newbyteorder("<")), frame.ravel())
    assert served.get(f"{path_of(name)}/frames/{n_frames + 1}").status_code == 404
    assert served.get(f"{path_of(name)}/frames/0").status_code == 404


@pytest.mark.parametrize("name", ["RLE", "JPEG 2000", "JPEG-LS", "30 frames", "15 frames in RLE"])
def test_stored_frames_are_those_of_the_file(served: Served, name: str) -> None:
    dataset = read(name)
    n_frames = int(dataset.get("NumberOfFrames", 1))
    expected = [*pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=n_frames)]
    client = DICOMwebClient(f"{served.address}/dicomweb", headers={"Authorization": f"Bearer {served.token}"})
    client._session.trust_env = False
    uids = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    numbers = [*range(1, n_frames + 1)]
    found = client.retrieve_instance_frames(*uids, numbers, media_types=(("application/octet-stream", "*"),))
    assert found == expected


@pytest.mark.parametrize(
    ("name", "media"),
    [("RLE", "image/dicom-rle"), ("JPEG 2000", "image/jp2"), ("JPEG-LS", "image/jls"), ("JPEG lossless", "image/jpeg")],
)
def test_frames_have_the_media_type_of_their_syntax(served: Served, name: str, media: str) -> None:
    path = f"{path_of(name)}/frames/1"
    response = served.get(path, headers={"Accept": f'multipart/related; type="{media}"'})
    syntax = read(name).file_meta.TransferSyntaxUID
    assert f"Content-Type: {media}; transfer-syntax={syntax}\r\n".encode() in response.content[:300]
    other = served.get(path, headers={"Accept": f"{media}; transfer-syntax=1.2.840.10008.1.2.4.51"})
    assert other.status_code == 406


@pytest.mark.parametrize("name", NAMES)
def test_instances_come_as_stored_and_without_compression(served: Served, name: str) -> None:
    stored = get(served, path_of(name), "application/dicom; transfer-syntax=*")
    assert served.service
    bucket = Path(served.service.readers.lake).with_name("bucket")
    assert stored == (bucket / f"training/P{[*NAMES].index(name)}/images/2020-05-01/1.dcm").read_bytes()
    explicit = pydicom.dcmread(io.BytesIO(get(served, path_of(name), "application/dicom")))
    assert explicit.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert np.array_equal(explicit.pixel_array, read(name).pixel_array)


def render(served: Served, path: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(get(served, path, "image/png"))))


def test_a_window_is_that_of_the_standard(served: Served) -> None:
    """PS3.3 C.11.2.1.2: LINEAR, with the half pixels of its definition; C.11.2.1.3: SIGMOID and LINEAR_EXACT."""
    values = apply_modality_lut(read("explicit").pixel_array, read("explicit")).astype(float)
    centre, width = -100.0, 900.0
    expected = {
        "linear": np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1),
        "linear-exact": np.clip((values - centre) / width + 0.5, 0, 1),
        "sigmoid": 1 / (1 + np.exp(-4 * (values - centre) / width)),
    }
    for function, shown in expected.items():
        found = render(served, f"{path_of('explicit')}/rendered?window={centre},{width},{function}")
        assert np.abs(found - shown * 255).max() <= 0.5 + 1e-6


def test_colours_are_rendered_as_they_are(served: Served) -> None:
    assert np.array_equal(render(served, f"{path_of('colour')}/rendered"), read("colour").pixel_array)
    frames = read("30 frames").pixel_array
    assert np.array_equal(render(served, f"{path_of('30 frames')}/frames/7/rendered"), frames[6])
    assert render(served, f"{path_of('palette')}/rendered").ndim == 3


def test_the_size_of_what_is_rendered(served: Served) -> None:
    rows, columns = read("explicit").pixel_array.shape
    assert render(served, f"{path_of('explicit')}/rendered?viewport={columns * 2},{rows * 3}").shape == (256, 256)
    whole = render(served, f"{path_of('explicit')}/rendered")
    part = render(served, f"{path_of('explicit')}/rendered?viewport=32,32,16,8,32,32")
    assert np.array_equal(part, whole[8:40, 16:48])
    thumbnail = Image.open(io.BytesIO(get(served, f"{path_of('colour')}/thumbnail", "image/jpeg")))
    assert (thumbnail.format, max(thumbnail.size)) == ("JPEG", 128)
    small, large = (
        len(get(served, f"{path_of('explicit')}/rendered?quality={quality}", "image/jpeg")) for quality in (10, 95)
    )
    assert small < large


@pytest.mark.parametrize(
    "query",
    [
        "window=40",
        "window=40,0,linear",
        "window=40,400,cubic",
        "window=nan,400,linear",
        "viewport=0,10",
        "viewport=100000,100000",
        "viewport=10,10,500,500,10,10",
        "quality=0",
        "quality=high",
    ],
)
def test_wrong_parameters_of_rendering(served: Served, query: str) -> None:
    assert served.get(f"{path_of('explicit')}/rendered?{query}").status_code == 400


@pytest.mark.slow
def test_monochrome1_is_turned_around(served: Served, tmp_path: Path) -> None:
    """The same pixels, once as MONOCHROME2 and once as MONOCHROME1: one is the negative of the other."""
    dataset = read("explicit")
    bucket = tmp_path / "bucket"
    dataset.PhotometricInterpretation = "MONOCHROME1"
    for part in ("images", "images_metadata"):
        (bucket / f"training/P0/{part}/2020-05-01").mkdir(parents=True)
    dataset.save_as(bucket / "training/P0/images/2020-05-01/1.dcm")
    header = json.dumps({tag: value for tag, value in dataset.to_json_dict().items() if tag < "7FE0"})
    (bucket / "training/P0/images_metadata/2020-05-01/1.json").write_text(header)
    warehouse.refresh(str(bucket), str(start_lake(tmp_path / "lake")))
    with serve_thread(tmp_path / "lake") as other:
        path = f"{path_of('explicit')}/rendered?window=0,2000,linear-exact"
        assert np.abs(render(other, path).astype(int) + render(served, path) - 255).max() <= 1


def test_bulk_data_of_pixels_are_its_frames(served: Served) -> None:
    dataset = read("15 frames")
    client = DICOMwebClient(f"{served.address}/dicomweb", headers={"Authorization": f"Bearer {served.token}"})
    client._session.trust_env = False
    found = client.retrieve_bulkdata(f"{served.address}{path_of('15 frames')}/bulkdata/7FE00010")
    assert b"".join(found) == dataset.pixel_array.astype("<u4").tobytes()
    assert served.get(f"{path_of('15 frames')}/bulkdata/00420011").status_code == 404
    assert served.get(f"{path_of('15 frames')}/bulkdata/../../../secret").status_code == 404


@pytest.mark.slow
def test_frames_come_from_s3(s3: S3, tmp_path: Path) -> None:
    """From S3 as from a folder; an object that was written anew is refused, even with the same bytes but one."""
    names = ("15 frames", "15 frames in RLE", "JPEG 2000")
    write_bucket(tmp_path / "bucket", *names)
    s3.upload(tmp_path / "bucket", "images")
    lake = start_lake(tmp_path / "lake")
    warehouse.refresh("s3://images", str(lake))
    with serve_thread(lake, settings=load_settings()) as other:
        for name in names:
            expected = read(name).pixel_array
            number = int(read(name).get("NumberOfFrames", 1))
            last = expected[-1] if number > 1 else expected
            found = get(other, f"{path_of(name)}/frames/{number}", "application/octet-stream")
            assert found == last.astype(last.dtype.newbyteorder("<")).tobytes()
            file = get(other, path_of(name), "application/dicom; transfer-syntax=*")
            assert np.array_equal(pydicom.dcmread(io.BytesIO(file)).pixel_array, expected)
        key = f"training/P{[*NAMES].index(names[0])}/images/2020-05-01/1.dcm"
        body = (tmp_path / "bucket" / key).read_bytes()
        s3.put("images", {key: body[:-1] + bytes([body[-1] ^ 1])})
        for path in ("", "/frames/3", "/rendered"):
            assert other.get(f"{path_of(names[0])}{path}").status_code == 409


def test_a_frame_is_read_without_those_before(served: Served, tmp_path: Path) -> None:
    """Of a file of many frames only the header and the part with the frame are read."""
    rows = columns = 256
    dataset = read("15 frames")
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, 60
    frames = np.arange(60, dtype="<u4").repeat(rows * columns)
    dataset.PixelData = frames.tobytes()
    path = tmp_path / "1.dcm"
    dataset.save_as(path)
    size = path.stat().st_size
    image = Stored("", "", "", str(tmp_path), "", "", "1.dcm", size, f"{path.stat().st_mtime_ns}-{size}")

    class Counting(FolderBucket):
        n_bytes = 0

        def stream(self, key: str, start: int = 0) -> Content | ReadFailure:
            content = super().stream(key, start)
            assert isinstance(content, Content)

            def count() -> Iterator[Buffer]:
                for chunk in content.chunks:
                    self.n_bytes += len(chunk)
                    yield chunk

            return Content(content.etag, content.size, count())

    buckets = Buckets(Settings())
    counting = buckets._open[str(tmp_path)] = Counting(tmp_path)
    found = read_decoded(open_pixels(buckets.open(image)), 41)
    assert np.array_equal(np.frombuffer(found, "<u4"), np.full(rows * columns, 40))
    assert size > 15_000_000
    assert counting.n_bytes < 4_000_000


def test_a_header_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    """A file may state any size; nothing of that size is made."""
    dataset = read("RLE")
    dataset.Rows = dataset.Columns = 65535
    path = tmp_path / "1.dcm"
    dataset.save_as(path)
    with path.open("rb") as file:
        pixels = open_pixels(file)
        with pytest.raises(UndecodableError, match="too large"):
            read_decoded(pixels, 1)
        file.seek(0)
        with pytest.raises(UndecodableError, match="too large"):
            rewrite_explicit(file)


def test_uids_are_quoted_in_addresses() -> None:
    """A UID is what a header states; it must not begin a line of a response."""
    assert write_path(("1.2", "3\r\nX: y", "a/../b")) == "/studies/1.2/series/3%0D%0AX%3A%20y/instances/a%2F..%2Fb"


@pytest.mark.slow
def test_no_pixels_of_a_patient_who_has_withdrawn_are_kept(served_lake: Path, tmp_path: Path) -> None:
    lake = copy_lake(served_lake, tmp_path / "lake")
    with serve_process(lake, tmp_path / "log") as served:
        study = served.get("/dicomweb/studies?limit=1").json()[0]
        patient, uid = study["00100020"]["Value"][0], study["0020000D"]["Value"][0]
        assert served.get(f"/dicomweb/studies/{uid}").status_code == 200
        changing.withdraw(location.parse_address(str(lake)), Settings(), [patient])
        assert served.get(f"/dicomweb/studies/{uid}").status_code == 404
        assert served.get(f"/dicomweb/studies/{uid}/metadata").status_code in (204, 404)


@pytest.mark.slow
def test_no_answer_about_a_patient_who_has_withdrawn_is_remembered(served_lake: Path, tmp_path: Path) -> None:
    lake = copy_lake(served_lake, tmp_path / "lake")
    with serve_process(lake, tmp_path / "log") as served:
        study = served.get("/dicomweb/studies?limit=1").json()[0]
        patient, uid = study["00100020"]["Value"][0], study["0020000D"]["Value"][0]
        number = served.get("/api/v1/about").json()["snapshot"]
        found = [f"/dicomweb/studies?StudyInstanceUID={uid}", f"/dicomweb/studies/{uid}/series"]
        paths = [*found, f"/dicomweb/studies/{uid}/instances", f"/dicomweb/studies/{uid}/metadata"]
        paths += [f"/snapshot/{number}{path}" for path in paths]
        before = [served.get(path).content for path in paths]
        assert before == [served.get(path).content for path in paths]
        assert all(patient.encode() in content for path, content in zip(paths, before, strict=True) if "meta" in path)
        changing.withdraw(location.parse_address(str(lake)), Settings(), [patient])
        # The address of the snapshot first: nothing else has made the server look at the list.
        assert {served.get(path).status_code for path in reversed(paths)} <= {204, 404}


@pytest.mark.slow
@pytest.mark.parametrize("first", ["series", "instances", "metadata"])
def test_whatever_is_asked_first_shows_nobody_who_has_withdrawn(first: str, served_lake: Path, tmp_path: Path) -> None:
    """Rows that are kept in memory do not go with the lake that was open when they were read."""
    lake = copy_lake(served_lake, tmp_path / "lake")
    with serve_process(lake, tmp_path / "log") as served:
        study = served.get("/dicomweb/studies?limit=1").json()[0]
        patient, uid = study["00100020"]["Value"][0], study["0020000D"]["Value"][0]
        number = served.get("/api/v1/about").json()["snapshot"]
        paths = [f"{below}/dicomweb/studies/{uid}/{first}" for below in (f"/snapshot/{number}", "")]
        assert {served.get(path).status_code for path in paths} == {200}
        changing.withdraw(location.parse_address(str(lake)), Settings(), [patient])
        assert {served.get(path).status_code for path in paths} <= {204, 404}
