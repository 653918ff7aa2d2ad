"""Headers read from DICOM files: as pydicom reads them, from as few bytes as hold them, and never the pixels."""

import contextlib
import json
import math
import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from dicom_files import PIXELS, build_dataset, build_deflated, build_file, write_file
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from warehouse.dicom import file_elements, file_headers
from warehouse.dicom.normalising import normalise
from warehouse.errors import UnreadableError

#: pydicom's own test files, where they are installed.
FILES = sorted((Path(pydicom.__file__).parent / "data/test_files").glob("*.dcm"))
#: A truncated header, truncated pixels, and one that begins with a byte of nothing.
REFUSED = {"rtplan_truncated.dcm", "MR_truncated.dcm", "no_meta.dcm"}
#: pydicom cannot write these as JSON.
ODD = {"UN_sequence.dcm", "nested_priv_SQ.dcm", "priv_SQ.dcm", "meta_missing_tsyntax.dcm"}


def read(content: bytes) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(file_headers.read_header(content, len(content)).text)
    return found


def is_alike(ours: object, theirs: object) -> bool:
    """Whether values are the same, apart from padding and the shortest decimal of a 32-bit number."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(is_alike, ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(is_alike(ours[name], theirs[name]) for name in ours)
    if isinstance(theirs, float | int) and isinstance(ours, float | int | str):
        return math.isclose(float(ours), float(theirs), rel_tol=1e-6)
    return str(ours or "").strip(" \0") == str(theirs or "").strip(" \0")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_values_are_those_that_pydicom_reads(path: Path) -> None:
    content = path.read_bytes()
    if path.name in REFUSED:
        with pytest.raises(UnreadableError):
            read(content)
        return
    ours = read(content)
    normalise(json.dumps(ours))
    theirs = pydicom.dcmread(path, stop_before_pixels=True, force=True).to_json_dict(suppress_invalid_tags=True)
    assert not [tag for tag in ours if tag.startswith(("0002", "7FE0"))]
    for tag, attribute in theirs.items():
        if tag.endswith("0000") or tag == "FFFCFFFC" or path.name in ODD:
            continue
        if attribute["vr"] != "SQ" and attribute.get("Value"):
            assert is_alike(ours[tag]["Value"], attribute["Value"]), tag


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_each_encoding_gives_the_same_header(syntax: str) -> None:
    item = build_dataset("P1", "1.2.3", SliceThickness="1.50", InstanceNumber="7")
    dataset = build_dataset(
        "P1", "1.2.3", PixelSpacing=["0.5", "0.50"], PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100"
    )
    dataset.ReferencedImageSequence = [item]
    dataset.PixelRepresentation, dataset.SmallestImagePixelValue = 1, -5
    plain = read(write_file(dataset))
    assert read(write_file(dataset, syntax)) == plain
    assert plain["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    assert plain["00280106"] == {"vr": "SS", "Value": [-5]}


def test_a_header_is_read_from_as_few_bytes_as_hold_it() -> None:
    content = build_file("P1", "1.2.3")
    end = content.index(PIXELS)
    whole = file_headers.read_header(content, len(content))
    assert file_headers.read_header(content[:end], len(content)) == whole
    for stop in (132, 200, end - 20):
        with pytest.raises(file_headers.NeedMoreError) as short:
            file_headers.read_header(content[:stop], len(content))
        assert stop < short.value.needed <= len(content)
        with pytest.raises(UnreadableError):
            file_headers.read_header(content[:stop], stop)


def test_what_is_long_and_binary_is_left_out_and_named() -> None:
    dataset = build_dataset("P1", "1.2.3")
    block = dataset.private_block(0x0029, "MAKER", create=True)
    block.add_new(1, "OB", b"x" * 2000)
    block.add_new(2, "OB", b"y" * 20)
    block.add_new(3, "LO", "Text of the maker")
    found = read(write_file(dataset))
    assert found["00291001"] == {"vr": "OB", "BulkDataURI": "#00291001"}
    assert found["00291002"]["InlineBinary"]
    assert found["00291003"]["Value"] == ["Text of the maker"]


def test_invalid_values_do_not_stop_the_good() -> None:
    content = build_file("P1", "1.2.3", StudyDate="20200401").replace(b"20200401", b"4/1/2020")
    found = read(content)
    assert found["00080020"]["Value"] == ["4/1/2020"]
    assert found["00100020"]["Value"] == ["P1"]


def test_deflated_headers_are_inflated_within_limits() -> None:
    content = build_deflated("P1", "1.2.3")
    assert read(content) == read(build_file("P1", "1.2.3"))
    with pytest.raises(file_headers.NeedMoreError):
        file_headers.read_header(content[:-10], len(content))
    with pytest.raises(UnreadableError, match="truncated"):
        file_headers.read_header(content[:-10], len(content) - 10)
    bomb = write_file(build_dataset("P1", "1.2.3", ImageComments="x"), "1.2.840.10008.1.2.1.99", b"\0" * 70_000_000)
    with pytest.raises(UnreadableError, match="larger than 64 MB"):
        read(bomb)


def add_raw(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    """An element in explicit VR, little endian."""
    long = vr in (b"SQ", b"UC", b"UN", b"OB")
    return struct.pack("<HH2sHI" if long else "<HH2sH", group, element, vr, *([0] if long else []), len(value)) + value


def write_raw(elements: bytes, *, is_deflated: bool = False) -> bytes:
    """A file of elements, without pixels."""
    syntax = b"1.2.840.10008.1.2.1.99" if is_deflated else b"1.2.840.10008.1.2.1\0"
    meta = add_raw(2, 0x10, b"UI", syntax)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = add_raw(8, 0x18, b"UI", b"1.2.3\0") + add_raw(0x10, 0x20, b"LO", b"P1") + elements
    head = bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta
    return head + (deflater.compress(body) + deflater.flush() if is_deflated else body)


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("is_deflated", [False, True])
def test_small_files_that_expand_to_objects_are_refused(is_deflated: bool) -> None:
    """Of each 58 kB took 5 GB and half a minute, and several are read at the same time."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    items = add_raw(0x40, 0x275, b"SQ", item * (file_headers.MAX_ITEMS + 1))
    with pytest.raises(UnreadableError, match="more than 100,000 items"):
        read(write_raw(items, is_deflated=is_deflated))
    elements = b"".join(
        add_raw(0x31 + 2 * (n // 60_000), 0x100 + n % 60_000, b"LO", b"") for n in range(file_headers.MAX_ELEMENTS)
    )
    with pytest.raises(UnreadableError, match="more than 100,000 elements"):
        read(write_raw(elements, is_deflated=is_deflated))
    many = read(write_raw(add_raw(0x40, 0x275, b"SQ", item * 40_000), is_deflated=is_deflated))
    assert len(many["00400275"]["Value"]) == 40_000  # type: ignore[arg-type]


@pytest.mark.parametrize(("vr", "value"), [(b"UC", b"\\"), (b"UC", b"1\\"), (b"UN", b"1\\")])
def test_more_values_than_a_column_has_are_left_out_and_named(vr: bytes, value: bytes) -> None:
    creator = add_raw(0x19, 0x10, b"LO", b"GEMS_ACQU_01")
    few, many = (creator + add_raw(0x19, 0x1002, vr, value * n) for n in (1_000, file_elements.MAX_VALUES + 2))
    assert "BulkDataURI" not in read(write_raw(few))["00191002"]
    assert read(write_raw(many))["00191002"]["BulkDataURI"] == "#00191002"
    dataset = build_dataset("P1", "1.2.3")
    dataset.add_new(0x00283006, "US", [1] * (file_elements.MAX_VALUES + 1))
    assert read(write_file(dataset, ImplicitVRLittleEndian))["00283006"]["BulkDataURI"] == "#00283006"


def test_of_what_is_deflated_the_header_is_limited_and_the_pixels_are_not_kept() -> None:
    long = add_raw(0x31, 0x110, b"UC", b"x" * file_headers.MAX_INFLATED_HEADER)
    with pytest.raises(UnreadableError, match="header is larger than 16 MB"):
        read(write_raw(long, is_deflated=True))
    image = write_file(build_dataset("P1", "1.2.3"), "1.2.840.10008.1.2.1.99", bytes(40_000_000))
    assert read(image) == read(build_file("P1", "1.2.3"))
    with pytest.raises(UnreadableError, match="truncated"):
        read(image[:-10])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"PK\x03\x04 and so on", "an archive"),
        (b"<html>no</html>", "HTML or XML"),
        (b'{"00100020": {}}', "JSON"),
        (b"\x30\x82\x01\x0a\x06\x09*\x86H", "perhaps encrypted"),
        (b"Salted__12345678", "encrypted"),
        (b"\xff\xd8\xff\xe0 JFIF", "a picture"),
        (bytes(4096), "nothing but zeros"),
        (b"words " * 50, "without the prefix DICM"),
        (bytes(128) + b"DICM", "truncated"),
    ],
)
def test_what_is_no_dicom_file_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read(content)


@given(st.binary(max_size=400), st.integers(0, 300))
def test_damaged_files_are_read_or_refused(noise: bytes, place: int) -> None:
    content = bytearray(build_file("P1", "1.2.3"))
    content[132 + place : 132 + place + len(noise)] = noise
    with contextlib.suppress(UnreadableError):
        normalise(file_headers.read_header(bytes(content), len(content)).text)


def test_deep_sequences_are_refused() -> None:
    dataset = build_dataset("P1", "1.2.3")
    inner: Dataset = dataset
    for _ in range(40):
        item = Dataset()
        inner.ReferencedSeriesSequence = [item]
        inner = item
    with pytest.raises(UnreadableError, match="nested"):
        read(write_file(dataset))
