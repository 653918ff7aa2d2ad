"""Reads the header of a DICOM file (PS3.10), from its first bytes up to the pixels, as DICOM JSON (PS3.18 F).

pydicom parses the file; its elements are converted here, because values in their usual form need no object each: a
header takes a quarter of the time. What is not in its usual form is left to pydicom, and what that cannot read keeps
its bytes. Pixels are never read. Values that are long (file_elements.py) are left out, with a BulkDataURI in their
place.

A small file can expand: what is deflated, and what has an object of Python for every eight bytes. So of what is
deflated only the header is kept, elements and items are limited, and large headers are read one at a time.
"""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from warehouse.dicom import file_elements, file_starts
from warehouse.dicom.normal_form import MAX_DEPTH
from warehouse.errors import UnreadableError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: The first tag that is not read: pixel data, in any of its forms, after the length of its group, and what follows.
_PIXELS = 0x7FE00001
#: The length of pixels that are compressed: they end where a delimiter says so (PS3.5 A.4).
_UNDEFINED = 0xFFFFFFFF
#: The most bytes that a deflated data set is inflated to, and how many of them its header may have.
MAX_INFLATED, MAX_INFLATED_HEADER = 64_000_000, 16_000_000
#: The most elements of a data set, not counting those within sequences, and the most items of all sequences. Enhanced
#: images of 10,000 frames have fewer items; no object has a tenth of the elements.
MAX_ELEMENTS, MAX_ITEMS = 100_000, 100_000
#: Larger headers are read one at a time in a process: each may take a hundred times as much memory.
_LARGE = 262_144
_CHUNK = 1_000_000
#: How an item of a sequence begins, by the order of bytes.
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
#: Media Storage Directory Storage: a DICOMDIR.
_DIRECTORY = "1.2.840.10008.1.3.10"


class NeedMoreError(Exception):
    """The header does not end within the bytes that were read; `needed` is how many from the start are known to be
    needed."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class FileHeader(NamedTuple):
    """A header as DICOM JSON, and its PatientID without padding ("" if it has none)."""

    text: str
    patient_id: str


class _DeflatedError(Exception):
    """The data set from here on is deflated."""


class _Start(io.BytesIO):
    """The first bytes of a file of a known size."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._n_read, self._size = len(content), size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as many bytes; NeedMoreError if the file has them but they were not read, UnreadableError if its end
        is within them."""
        if size is None or size < 0:  # pydicom reads so only what is deflated
            raise _DeflatedError
        end = self.tell() + size
        if end > self._n_read:
            if self._n_read < self._size:
                raise NeedMoreError(min(end, self._size))
            # Eight bytes begin an element, one is a look ahead: there a file may end.
            if size not in (1, 8) or (size == 8 and self.tell() < self._n_read):
                raise UnreadableError("truncated: the file ends within its header")
        return super().read(size)


def read_header(content: bytes, size: int) -> FileHeader:
    """Read the header of a file of `size` bytes from its first bytes, which are all or at least 132.

    NeedMoreError if it does not end within them, UnreadableError with the reason if it is not a DICOM file or cannot be
    read.
    """
    file_starts.check_start(content, size)
    with quiet_pydicom():
        try:
            return _read(content, size)
        except (NeedMoreError, UnreadableError):
            raise
        except RecursionError:
            raise UnreadableError("not DICOM that can be read: nested too deeply") from None
        except (struct.error, EOFError):
            if len(content) < size:
                raise NeedMoreError(size) from None
            raise UnreadableError("truncated: the file ends within its header") from None
        except Exception as error:  # whatever pydicom may meet in a damaged file
            if len(content) < size:
                raise NeedMoreError(size) from None
            raise UnreadableError(f"not DICOM that can be read: {type(error).__name__}") from None


def _read(content: bytes, size: int) -> FileHeader:
    from pydicom import filereader

    start = _Start(content, size)
    try:
        with _take_turn(content):
            return _convert(filereader.read_partial(start, _find_pixels(start, size), force=True))
    except _DeflatedError:
        if len(content) < size:
            raise NeedMoreError(size) from None
    with _take_turn(content, is_deflated=True):
        inflated, length = _inflate(content[start.tell() :])
        _require_few_items(inflated)
        try:
            start = _Start(inflated, length)
            stop = _find_pixels(start, length)
            return _convert(filereader.read_dataset(start, False, True, stop_when=stop))
        except NeedMoreError:
            raise UnreadableError(
                f"deflated, and its header is larger than {MAX_INFLATED_HEADER // 1_000_000} MB inflated"
            ) from None


@contextlib.contextmanager
def _take_turn(content: bytes, *, is_deflated: bool = False) -> Iterator[None]:
    """Wait until no other large header is being read."""
    if len(content) <= _LARGE and not is_deflated:
        yield
        return
    _require_few_items(content)
    with _one_large:
        yield


def _require_few_items(content: bytes) -> None:
    if sum(map(content.count, _ITEMS)) > MAX_ITEMS:
        raise UnreadableError(f"its sequences have more than {MAX_ITEMS:,} items")


def _find_pixels(file: io.BytesIO, size: int) -> Callable[[int, str | None, int], bool]:
    """What pydicom asks of each element: whether the pixels begin, whose value must end within the file."""
    n_elements = 0

    def is_at_pixels(tag: int, vr: str | None, length: int) -> bool:  # noqa: ARG001
        nonlocal n_elements
        n_elements += 1
        if n_elements > MAX_ELEMENTS:
            raise UnreadableError(f"it has more than {MAX_ELEMENTS:,} elements before the pixels")
        if int(tag) < _PIXELS:  # a comparison of pydicom's tags takes five times as long
            return False
        if length != _UNDEFINED and file.tell() + length > size:
            raise UnreadableError("truncated: the file ends within its pixels")
        return True

    return is_at_pixels


def _inflate(deflated: bytes) -> tuple[bytes, int]:
    """The first bytes of what is deflated, as many as a header may have, and the length of the whole."""
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        found = inflater.decompress(deflated, MAX_INFLATED_HEADER)
        length = len(found)
        while not inflater.eof and length <= MAX_INFLATED:
            more = inflater.decompress(inflater.unconsumed_tail, _CHUNK)
            length += len(more)
            if not more and not inflater.eof:
                raise UnreadableError("truncated: the file ends within its deflated part")
    except zlib.error:
        raise UnreadableError("not DICOM that can be read: its deflated part is damaged") from None
    if length > MAX_INFLATED:
        raise UnreadableError(f"deflated, and larger than {MAX_INFLATED // 1_000_000} MB inflated")
    return found, length


def _convert(dataset: Dataset) -> FileHeader:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and str(meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY:
        raise UnreadableError("a DICOMDIR: the directory of a medium, not an image")
    found = file_elements.convert_dataset(dataset, MAX_DEPTH)
    if not found.text.strip("{}"):
        raise UnreadableError("a DICOM file without a data set")
    return FileHeader(found.text, found.patient_id)


_lock, _one_large = threading.Lock(), threading.Lock()
_n_quiet = 0
_former = contextlib.ExitStack()


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Let pydicom neither check values nor log what is wrong with them: both are done by those who read the header.

    Its settings belong to the process, so several threads share one change of them. Whoever reads many headers enters
    it once for all.
    """
    global _n_quiet  # noqa: PLW0603
    with _lock:
        if not _n_quiet:
            _silence()
        _n_quiet += 1
    try:
        yield
    finally:
        with _lock:
            _n_quiet -= 1
            if not _n_quiet:
                _former.close()


def _silence() -> None:
    from pydicom import config

    log = logging.getLogger("pydicom")
    _former.callback(setattr, config.settings, "reading_validation_mode", config.settings.reading_validation_mode)
    _former.callback(log.setLevel, log.level)
    _former.enter_context(warnings.catch_warnings())
    config.settings.reading_validation_mode = config.IGNORE
    log.setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", UserWarning)
