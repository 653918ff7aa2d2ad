"""How much an image may take to decode: what its header, its frame or its compression state is checked beforehand.

A file of some kilobytes can state that it has a thousand million pixels, or expand to them: then memory would end for
all whom the server answers.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from warehouse.service.dicomweb.errors import UndecodableError

if TYPE_CHECKING:
    from pydicom import Dataset

#: The most values of a frame that is decoded: the largest X-rays and mammograms have 30 million.
MOST_VALUES = 50_000_000
#: The most bytes of an object that is written anew, or inflated.
MOST_BYTES = 1 << 30

#: The most bytes of all that stands before the pixels: headers of thousands of frames have some ten million.
MOST_HEADER_BYTES = 1 << 26
_HEADER_TOO_LARGE = "What stands before the pixels is too large to be read here. Ask for the object: transfer-syntax=*"

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_HEAD, _CHUNK = 144, 1 << 20
_TOO_LARGE = "The image is too large to be decoded here. Ask for it as it is stored: transfer-syntax=*"


def get_number(dataset: Dataset, name: str, default: int = 0) -> int:
    """A whole number of a header; UndecodableError for what is not one."""
    try:
        return int(dataset.get(name) or default)
    except (TypeError, ValueError, OverflowError):
        raise UndecodableError(f"{name} of this object is not a number.") from None


class HeaderFile:
    """A file of which no more than a header is read: an element may state to have gigabytes, and have them."""

    def __init__(self, file: BinaryIO) -> None:
        """Read a file from where it is."""
        self._file, self._left = file, MOST_HEADER_BYTES

    def read(self, n_bytes: int = -1) -> bytes:
        """Read so many bytes; UndecodableError, before memory is taken, if they are more than a header may have."""
        if not 0 <= n_bytes <= self._left:
            raise UndecodableError(_HEADER_TOO_LARGE)
        self._left -= n_bytes
        return self._file.read(n_bytes)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place that is read next."""
        return self._file.tell()


def require_frame(dataset: Dataset) -> None:
    """UndecodableError if a frame has too many values by its header."""
    if _count_values(dataset) > MOST_VALUES:
        raise UndecodableError(_TOO_LARGE)


def require_object(dataset: Dataset) -> None:
    """UndecodableError if all frames together have too many bytes by the header."""
    require_frame(dataset)
    n_bytes = _count_values(dataset) * max(1, get_number(dataset, "BitsAllocated", 8) // 8)
    if n_bytes * max(1, get_number(dataset, "NumberOfFrames", 1)) > MOST_BYTES:
        raise UndecodableError(_TOO_LARGE)


def require_stream(frame: bytes) -> None:
    """UndecodableError if a compressed frame has too many values by its own marks, whatever the header states."""
    if any(width * height * samples > MOST_VALUES for width, height, samples in _find_sizes(frame)):
        raise UndecodableError(_TOO_LARGE)


def require_inflatable(file: BinaryIO) -> None:
    """UndecodableError if a DICOM file is deflated, and is too large when it is inflated; then read from the start."""
    if _skip_meta(file):
        inflating, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            while (chunk := inflating.unconsumed_tail or file.read(_CHUNK)) and not inflating.eof:
                n_bytes += len(inflating.decompress(chunk, _CHUNK))
                if n_bytes > MOST_BYTES:
                    raise UndecodableError(_TOO_LARGE)
        except zlib.error:
            raise UndecodableError("This object cannot be inflated.") from None
    file.seek(0)


def is_deflated(file: BinaryIO) -> bool:
    """Whether a DICOM file is deflated; then read from the start."""
    found = _skip_meta(file)
    file.seek(0)
    return found


def _skip_meta(file: BinaryIO) -> bool:
    """Read the meta information of a file; whether it states that all that follows is deflated."""
    file.seek(0)
    head = file.read(_HEAD)
    n_meta = struct.unpack("<I", head[-4:])[0] if len(head) == _HEAD else 0
    return 0 < n_meta < _CHUNK and _DEFLATED in file.read(n_meta)


def _count_values(dataset: Dataset) -> int:
    rows, columns = get_number(dataset, "Rows"), get_number(dataset, "Columns")
    return rows * columns * max(1, get_number(dataset, "SamplesPerPixel", 1))


def _find_sizes(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Width, height and samples that JPEG, JPEG-LS or JPEG 2000 state: all of them, as a decoder may take any."""
    for found in _SIZ.finditer(frame):
        right, bottom, left, top = struct.unpack(">4I", found[1])
        yield max(0, right - left), max(0, bottom - top), int.from_bytes(found[2], "big")
    for found in _SOF.finditer(frame):
        length, _, height, width, samples = struct.unpack(">HBHHB", found[1])
        if length == 8 + 3 * samples:
            yield width, height, samples


#: Within a frame of the one kind, the marks of the other do not occur by chance: SIZ of ITU T.800 A.5.1 after SOC, and
#: SOF0 to SOF15 of ITU T.81 B.2.2, with that of JPEG-LS.
_SIZ = re.compile(rb"\xff\x4f\xff\x51.{4}(.{16}).{16}(..)", re.DOTALL)
_SOF = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7](.{8})", re.DOTALL)
