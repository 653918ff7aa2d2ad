"""Reads the header of a DICOM file (PS3.10), from its first bytes up to the pixels, as DICOM JSON (PS3.18 F).

pydicom parses the file; its elements are converted here, because values in their usual form need no object each: a
header takes a quarter of the time. What is not in its usual form is left to pydicom, and what that cannot read keeps
its bytes. Pixels are never read. Binary values over MAX_BINARY bytes are left out, with a BulkDataURI in their place.
"""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
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
#: The transfer syntax of a deflated data set.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
#: The most bytes that a deflated data set is inflated to.
MAX_INFLATED = 64_000_000
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
            dataset = _read_dataset(content, size)
            return _convert(dataset)
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


def _read_dataset(content: bytes, size: int) -> Dataset:
    from pydicom import filereader

    if _DEFLATED not in content:
        dataset = _read_to_pixels(content, size)
        if dataset is not None:
            return dataset
    start = _Start(content, size)
    try:
        return filereader.read_partial(start, _StopAtPixels(start, size), force=True)
    except _DeflatedError:
        if len(content) < size:
            raise NeedMoreError(size) from None
        inflated = _inflate(content[start.tell() :])
        start = _Start(inflated, len(inflated))
        return filereader.read_dataset(start, False, True, stop_when=_StopAtPixels(start, len(inflated)))


def _read_to_pixels(content: bytes, size: int) -> Dataset | None:
    """Read a header that has pixels behind it, all within `content`; None for any other, which _Start explains.

    A header that was cut ends without the tag of the pixels, since pydicom reads on from the end of the content. So
    nothing has to watch over each read, which takes a tenth of the time.
    """
    from pydicom import filereader

    file = io.BytesIO(content)
    stop = _StopAtPixels(file, size)
    try:
        dataset = filereader.read_partial(file, stop, force=True)
    except UnreadableError:
        raise
    except Exception:  # as at any end
        return None
    return dataset if stop.is_reached else None


class _StopAtPixels:
    """pydicom's condition to stop: at the first element of the pixels, whose value must end within the file."""

    __slots__ = ("_file", "_size", "is_reached")

    def __init__(self, file: io.BytesIO, size: int) -> None:
        self._file, self._size, self.is_reached = file, size, False

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:  # noqa: ARG002
        if int(tag) < _PIXELS:  # a comparison of pydicom's tags takes five times as long
            return False
        self.is_reached = True
        if length != _UNDEFINED and self._file.tell() + length > self._size:
            raise UnreadableError("truncated: the file ends within its pixels")
        return True


def _inflate(deflated: bytes) -> bytes:
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        found = inflater.decompress(deflated, MAX_INFLATED)
    except zlib.error:
        raise UnreadableError("not DICOM that can be read: its deflated part is damaged") from None
    if inflater.unconsumed_tail:
        raise UnreadableError(f"deflated, and larger than {MAX_INFLATED // 1_000_000} MB inflated")
    if not inflater.eof:
        raise UnreadableError("truncated: the file ends within its deflated part")
    return found


def _convert(dataset: Dataset) -> FileHeader:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and str(meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY:
        raise UnreadableError("a DICOMDIR: the directory of a medium, not an image")
    found = file_elements.convert_dataset(dataset, MAX_DEPTH)
    if not found.text.strip("{}"):
        raise UnreadableError("a DICOM file without a data set")
    return FileHeader(found.text, found.patient_id)


_lock = threading.Lock()
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
