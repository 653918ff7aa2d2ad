"""Reads single frames of a DICOM object, decoded or as they are stored, without reading the others where that can be.

Frames that are not compressed lie one after the other (PS3.5 8.1.1): only the one that is wanted is read. Compressed
ones are fragments, found by an offset table (PS3.5 A.4), or without one by the lengths of those before.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from warehouse.errors import NotFoundError, UsageError
from warehouse.service.dicomweb import sizes
from warehouse.service.dicomweb.errors import UndecodableError
from warehouse.service.dicomweb.negotiation import EXPLICIT

if TYPE_CHECKING:
    from pydicom import Dataset

#: What pydicom and its decoders raise for files that are not as they should be.
_ERRORS = (
    *(AttributeError, ValueError, TypeError, KeyError, IndexError, OverflowError, RuntimeError, NotImplementedError),
    *(EOFError, MemoryError),
)
IMPLICIT = "1.2.840.10008.1.2"
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
        return max(1, sizes.get_number(self.dataset, "NumberOfFrames", 1))

    def require(self, numbers: list[int]) -> None:
        """NotFoundError unless the object has frames of these numbers, counted from 1."""
        for number in numbers:
            if not 1 <= number <= self.n_frames:
                raise NotFoundError(f"There is no frame {number}: the image has {self.n_frames}.")


def open_header(file: BinaryIO) -> Pixels:
    """Read the header of a DICOM object, which may have no pixels; UndecodableError if it is none."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    sizes.require_inflatable(file)
    try:
        # A deflated file is read as a whole: its size without compression was checked.
        bounded = file if sizes.is_deflated(file) else cast(BinaryIO, sizes.HeaderFile(file))
        dataset = pydicom.dcmread(bounded, stop_before_pixels=True)
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

    if sizes.get_number(dataset, "BitsAllocated", 8) == 1:
        return np.packbits(values.astype(bool).ravel(), bitorder="little").tobytes()
    if values.ndim == 3 and int(dataset.get("PlanarConfiguration") or 0) == 1:
        values = np.moveaxis(values, -1, 0)
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def decode_frame(pixels: Pixels, number: int) -> Any:
    """The stored values of a frame as an array; colours last, and as RGB."""
    import pydicom
    from pydicom.pixels.utils import pixel_array

    sizes.require_frame(pixels.dataset)
    if pixels.dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        sizes.require_stream(read_stored(pixels, number))
    pixels.file.seek(0)
    try:
        if pixels.syntax == _DEFLATED:  # of a compressed stream all has to be read
            return pixel_array(pydicom.dcmread(pixels.file), index=number - 1)
        return pixel_array(pixels.file, index=number - 1)
    except _ERRORS as error:
        raise UndecodableError(f"Frame {number} cannot be decoded: {_shorten(error)}") from None


def rewrite_explicit(file: BinaryIO) -> bytes:
    """A DICOM file in Explicit VR Little Endian, decoded; UndecodableError if its pixels are damaged or too large."""
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRLittleEndian

    sizes.require_inflatable(file)
    if file.seek(0, io.SEEK_END) > sizes.MOST_BYTES:
        raise UndecodableError("The object is too large to be written anew. Ask for it as stored: transfer-syntax=*")
    file.seek(0)
    try:
        dataset = pydicom.dcmread(file)
        _require_sizes(dataset)
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
    except _ERRORS as error:
        raise UndecodableError(f"The object cannot be written without compression: {_shorten(error)}") from None
    return to.getvalue()


def _require_sizes(dataset: Dataset) -> None:
    """UndecodableError for pixels that would be too large without their compression."""
    from pydicom import encaps

    sizes.require_object(dataset)
    if "PixelData" in dataset and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        count = max(1, sizes.get_number(dataset, "NumberOfFrames", 1))
        for frame in encaps.generate_frames(dataset.PixelData, number_of_frames=count):
            sizes.require_stream(frame)


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
    bits, samples = sizes.get_number(dataset, "BitsAllocated"), sizes.get_number(dataset, "SamplesPerPixel", 1)
    if "422" in str(dataset.get("PhotometricInterpretation", "")):  # two pixels share their colour (PS3.3 C.7.6.3.1.2)
        samples = 2
    rows, columns = sizes.get_number(dataset, "Rows"), sizes.get_number(dataset, "Columns")
    return 0 if bits % 8 else rows * columns * samples * (bits // 8)


def _read_native(pixels: Pixels, number: int, length: int) -> bytes:
    start = pixels.start + (12 if pixels.syntax == EXPLICIT else 8) + (number - 1) * length
    if start + length > pixels.file.seek(0, io.SEEK_END):  # before memory is taken for it
        raise UndecodableError(f"Frame {number} is shorter than the header states.")
    pixels.file.seek(start)
    return pixels.file.read(length)


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
