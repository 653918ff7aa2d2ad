"""Images whose headers or frames state far more than a server can hold: refused before memory is taken for them."""

import io
import resource
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from conftest import start_lake
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian
from served import Served, serve_thread

import warehouse

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
TOO_LARGE = "too large"
GIGABYTE = 1 << 30


def take(name: str, number: int) -> pydicom.Dataset:
    dataset = pydicom.dcmread(FILES / name)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.9.{number}", f"1.2.9.{number}.1"
    dataset.SOPInstanceUID = f"1.2.9.{number}.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def write(dataset: pydicom.Dataset) -> bytes:
    to = io.BytesIO()
    dataset.save_as(to)
    return to.getvalue()


def state_sides(number: int) -> bytes:
    """RLE of a small image, with a header of 65,535 rows and columns."""
    dataset = take("MR_small_RLE.dcm", number)
    dataset.Rows = dataset.Columns = 65_535
    return write(dataset)


def state_frames(number: int) -> bytes:
    """A small image, with a header of 2,000 million frames."""
    dataset = take("CT_small.dcm", number)
    dataset.NumberOfFrames = 2_000_000_000
    return write(dataset)


def state_native_sides(number: int) -> bytes:
    dataset = take("CT_small.dcm", number)
    dataset.Rows = dataset.Columns = 65_535
    return write(dataset)


def enlarge_frame(name: str, number: int) -> bytes:
    """A compressed image whose header is right, and whose frame states 65,000 rows and columns."""
    dataset = take(name, number)
    (frame, *_) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    found = bytearray(frame)
    if (place := found.find(b"\xff\x4f\xff\x51")) >= 0:
        found[place + 8 : place + 16] = struct.pack(">2I", 65_000, 65_000)
        found[place + 24 : place + 32] = struct.pack(">2I", 65_000, 65_000)
    else:
        place = min(p for mark in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3", b"\xff\xf7") if (p := found.find(mark)) >= 0)
        found[place + 5 : place + 9] = struct.pack(">2H", 65_000, 65_000)
    dataset.PixelData = encapsulate([bytes(found)])
    dataset["PixelData"].VR = "OB"
    return write(dataset)


def inflate(number: int) -> bytes:
    """A deflated file of 3 MB with 3 GB of zeros behind its header."""
    dataset = take("CT_small.dcm", number)
    del dataset.PixelData
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    small = write(dataset)
    length = struct.unpack("<I", small[140:144])[0]
    plain = zlib.decompress(small[144 + length :], -zlib.MAX_WBITS)
    packing = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)

    def pack(data: bytes) -> bytes:
        return packing.compress(data) + packing.flush(zlib.Z_FULL_FLUSH)

    made = [pack(plain), pack(b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", 3 * GIGABYTE))]
    # After a full flush the same bytes are packed alike: to pack them 192 times would take 12 s.
    made += [pack(bytes(GIGABYTE >> 6))] * (3 * 64)
    return small[: 144 + length] + b"".join(made) + packing.flush()


def precede(number: int) -> bytes:
    """A file with 80 MB in a private element before its pixels."""
    dataset = take("CT_small.dcm", number)
    dataset.private_block(0x0099, "A MAKER", create=True).add_new(1, "OB", bytes(80_000_000))
    return write(dataset)


BOMBS = {
    "a private element": precede,
    "sides in RLE": state_sides,
    "native sides": state_native_sides,
    "JPEG 2000": lambda number: enlarge_frame("MR_small_jp2klossless.dcm", number),
    "JPEG-LS": lambda number: enlarge_frame("MR_small_jpeg_ls_lossless.dcm", number),
    "JPEG": lambda number: enlarge_frame("SC_rgb_jpeg_dcmtk.dcm", number),
    "deflated": inflate,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import json

    warnings.simplefilter("ignore")
    bucket = tmp_path_factory.mktemp("bombs") / "bucket"
    for number, make in enumerate([*BOMBS.values(), state_frames], 1):
        images, headers = (
            bucket / f"training/P{number}" / part / "2020-05-01" for part in ("images", "images_metadata")
        )
        images.mkdir(parents=True)
        headers.mkdir(parents=True)
        (images / "1.dcm").write_bytes(make(number))
        header = take("CT_small.dcm", number).to_json_dict(suppress_invalid_tags=True)
        (headers / "1.json").write_text(json.dumps({tag: value for tag, value in header.items() if tag < "7FE0"}))
    lake = start_lake(bucket.with_name("lake"))
    warehouse.refresh(str(bucket), str(lake))
    with serve_thread(lake) as running:
        yield running


def place_of(number: int) -> str:
    return f"/dicomweb/studies/1.2.9.{number}/series/1.2.9.{number}.1/instances/1.2.9.{number}.1.1"


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_what_is_too_large_is_refused_before_memory_is_taken(served: Served, name: str) -> None:
    place = place_of([*BOMBS].index(name) + 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, accept in (
        ("/rendered", "image/png"),
        ("/thumbnail", "image/jpeg"),
        ("/frames/1", "application/octet-stream"),
        ("", "application/dicom"),
    ):
        answer = served.get(place + path, headers={"Accept": accept})
        if name == "native sides" and not path:  # it is sent as it is
            assert answer.status_code == 200
            continue
        assert answer.status_code == 422, (path, answer.text[:200])
        assert any(
            words in answer.json()["detail"] for words in (TOO_LARGE, "shorter", "before the pixels is too large")
        )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB
    stored = served.get(place, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert (stored.status_code, stored.content[128:132]) == (200, b"DICM")


def test_as_many_frames_as_a_header_states_take_no_memory(served: Served) -> None:
    place = place_of(len(BOMBS) + 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with served.client.stream("GET", f"{place}/bulkdata/7FE00010", headers={"Accept": "*/*"}) as answer:
        assert answer.status_code == 200
        assert len(next(answer.iter_bytes())) > 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000
    assert served.get(f"{place}/frames/1").status_code == 200
    assert served.get(f"{place}/frames/1999999").status_code == 422
