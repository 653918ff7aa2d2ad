"""Reads single frames of a DICOM object, decoded or as they are stored, without reading the others where that can be.

Frames that are not compressed lie one after the other (PS3.5 8.1.1): only the one that is wanted is read. Compressed
ones are fragments, found by an offset table (PS3.5 A.4), or without one by the lengths of those before.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from warehouse.errors import NotFoundError, UsageError
from warehouse.service.dicomweb.errors import NotAcceptableError, UndecodableError
from warehouse.service.dicomweb.negotiation import EXPLICIT

if TYPE_CHECKING:
    from pydicom import Dataset

IMPLICIT = "1.2.840.10008.1.2"
#: What a frame, and a whole object, may take when it is decoded; a header may state anything.
_MOST_BYTES_OF_FRAME, _MOST_BYTES = 1 << 29, 1 << 31
_DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


@dataclass
class Pixels:
    """An open DICOM object: its header without the pixels, and where these begin."""

    file: BinaryIO
    dataset: Dataset
    start: int
    syntax: str

    @property
    def n_frames(self) -> int:
        """The number of frames; 1 where the header has none."""
        return max(1, int(self.dataset.get("NumberOfFrames") or 1))

    def require(self, numbers: list[int]) -> None:
        """NotFoundError unless the object has frames of these numbers, counted from 1."""
        for number in numbers:
            if not 1 <= number <= self.n_frames:
                raise NotFoundError(f"There is no frame {number}: the image has {self.n_frames}.")


def open_header(file: BinaryIO) -> Pixels:
    """Read the header of a DICOM object, which may have no pixels; UndecodableError if it is none."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        return Pixels(file, dataset, file.tell(), str(dataset.file_meta.TransferSyntaxUID))
    except (InvalidDicomError, EOFError, AttributeError, ValueError, KeyError):
        raise UndecodableError("This object is not a DICOM file.") from None


def open_pixels(file: BinaryIO) -> Pixels:
    """Read the header of a DICOM object; UndecodableError if it is none, or has no pixels."""
    found = open_header(file)
    if found.syntax != _DEFLATED and file.read(2) not in (b"\xe0\x7f", b"\x7f\xe0"):
        raise UndecodableError("This object has no pixels.")
    return found


def read_stored(pixels: Pixels, number: int) -> bytes:
    """A compressed frame as it is stored, by its number from 1."""
    from pydicom import encaps

    dataset, file = pixels.dataset, pixels.file
    # The tag, the VR, two reserved bytes and the length of the element: encapsulated pixels are in explicit VR.
    file.seek(pixels.start + 12)
    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    try:
        return encaps.get_frame(
            file,
            number - 1,
            number_of_frames=pixels.n_frames,
            extended_offsets=cast(Any, offsets) if all(offsets) else None,
        )
    except (ValueError, EOFError) as error:
        raise UndecodableError(f"Frame {number} cannot be found: {_shorten(error)}") from None


def read_decoded(pixels: Pixels, number: int) -> bytes:
    """A frame as its stored values, little endian, in the order that its header states."""
    if pixels.syntax in (EXPLICIT, IMPLICIT) and (length := _find_frame_length(pixels.dataset)):
        return _read_native(pixels, number, length)
    return _write_values(pixels.dataset, decode_frame(pixels, number))


def _write_values(dataset: Dataset, values: Any) -> bytes:
    """The values of a frame as bytes, in the order that its header states."""
    import numpy as np

    if int(dataset.get("BitsAllocated", 8)) == 1:
        return np.packbits(values.astype(bool).ravel(), bitorder="little").tobytes()
    if values.ndim == 3 and int(dataset.get("PlanarConfiguration") or 0) == 1:
        values = np.moveaxis(values, -1, 0)
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def decode_frame(pixels: Pixels, number: int) -> Any:
    """The stored values of a frame as an array; colours last, and as RGB."""
    import pydicom
    from pydicom.pixels.utils import pixel_array

    if _find_decoded_length(pixels.dataset) > _MOST_BYTES_OF_FRAME:
        raise UndecodableError(f"Frame {number} is said to have more than {_MOST_BYTES_OF_FRAME:,} bytes.")
    pixels.file.seek(0)
    try:
        if pixels.syntax == _DEFLATED:  # of a compressed stream all has to be read
            return pixel_array(pydicom.dcmread(pixels.file), index=number - 1)
        return pixel_array(pixels.file, index=number - 1)
    except (AttributeError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise UndecodableError(f"Frame {number} cannot be decoded: {_shorten(error)}") from None


def _find_decoded_length(dataset: Dataset) -> int:
    sizes = [int(dataset.get(name) or 1) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    return sizes[0] * sizes[1] * sizes[2] * sizes[3] // 8


def rewrite_explicit(file: BinaryIO) -> bytes:
    """A DICOM file in Explicit VR Little Endian, decoded.

    UndecodableError if its pixels cannot be, NotAcceptableError if that would take too much memory.
    """
    header = open_header(file)
    if _find_decoded_length(header.dataset) * header.n_frames > _MOST_BYTES:
        raise NotAcceptableError("Decoded, this object is too large: accept transfer-syntax=*, or ask for its frames.")
    file.seek(0)
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRLittleEndian

    try:
        dataset = pydicom.dcmread(file)
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            if "PixelData" in dataset and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
                dataset.decompress(generate_instance_uid=False)
        elif dataset.file_meta.TransferSyntaxUID == _BIG_ENDIAN and "PixelData" in dataset:
            _turn_bytes(dataset)
        to = io.BytesIO()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pydicom.dcmwrite(to, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except (InvalidDicomError, EOFError):
        raise UndecodableError("This object is not a DICOM file.") from None
    except (AttributeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise UndecodableError(f"The object cannot be written without compression: {_shorten(error)}") from None
    return to.getvalue()


def _turn_bytes(dataset: Dataset) -> None:
    """Write the pixels of a data set anew, little endian."""
    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    values = dataset.pixel_array
    frames = [_write_values(dataset, frame) for frame in (values if count > 1 else [values])]
    joined = b"".join(frames)
    dataset.PixelData = joined + b"\0" * (len(joined) % 2)
    if "YBR" in str(dataset.get("PhotometricInterpretation", "")):
        dataset.PhotometricInterpretation = "RGB"


def parse_frame_numbers(text: str) -> list[int]:
    """The numbers of a list of frames, as 1,2,5 (PS3.18 10.4.1.1.6); UsageError if it is none."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts) or len(parts) > 10_000:
        raise UsageError("Frames are numbers from 1 on, separated by commas.")
    return [int(part) for part in parts]


def _find_frame_length(dataset: Dataset) -> int:
    """The bytes of a frame that is not compressed; 0 if its bits do not fill bytes."""
    bits, samples = int(dataset.get("BitsAllocated", 0)), int(dataset.get("SamplesPerPixel", 1))
    if "422" in str(dataset.get("PhotometricInterpretation", "")):  # two pixels share their colour (PS3.3 C.7.6.3.1.2)
        samples = 2
    return 0 if bits % 8 else int(dataset.Rows) * int(dataset.Columns) * samples * (bits // 8)


def _read_native(pixels: Pixels, number: int, length: int) -> bytes:
    head = 12 if pixels.syntax == EXPLICIT else 8
    pixels.file.seek(pixels.start + head + (number - 1) * length)
    found = pixels.file.read(length)
    if len(found) != length:
        raise UndecodableError(f"Frame {number} is shorter than the header states.")
    return found


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
