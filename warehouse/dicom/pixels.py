"""Reads the pixels of a DICOM file as numbers that mean the same in every file: pydicom decodes them.

    read_image("1.2.3.dcm").shape        # (rows, columns); frames first, colours last where there are several

Modality LUT (PS3.3 C.11.1): stored values become those of the modality, as Hounsfield units in CT, by RescaleSlope and
RescaleIntercept or by the Modality LUT Sequence. Photometric interpretation (PS3.3 C.7.6.3.1.2): MONOCHROME1, in which
the smallest value is white, is turned around within the range of its values, so that larger is brighter in every grey
image; a palette and YBR become RGB. Windows (VOI LUT), overlays and PixelPaddingValue are left to the caller.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_image(source: str | Path | bytes | memoryview, *, name: str = "") -> NDArray[np.float32] | NDArray[np.uint8]:
    """Read the pixels of a DICOM file, given as a path or as its bytes: float32, or integers in RGB.

    `name` is that of the object in errors. UsageError if it cannot be read, is not a DICOM image, or if its
    compression needs a library that is not installed: chest-data-warehouse[images] has those for JPEG 2000 and RLE.
    """
    given = io.BytesIO(source) if isinstance(source, bytes | memoryview) else source
    shown = name or ("The object" if isinstance(given, io.BytesIO) else str(source))
    try:
        import numpy as np
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise UsageError(f"read_image needs {error.name}: pip install 'chest-data-warehouse[images]'") from None
    try:
        dataset = pydicom.dcmread(given)
        if "PixelData" not in dataset:
            raise UsageError(f"{shown} has no pixels (PixelData): choose images only.")
        found: NDArray[np.float32] | NDArray[np.uint8] = _convert(dataset, np)
        return found
    except (InvalidDicomError, EOFError):
        raise UsageError(f"{shown} is not a DICOM file.") from None
    except OSError as error:
        raise UsageError(
            f"{shown} cannot be read: {error.strerror or error}. Give the path of a downloaded .dcm."
        ) from None
    except (AttributeError, ValueError, RuntimeError, NotImplementedError) as error:
        words = " ".join(str(error).split())
        raise UsageError(f"{shown} has pixels that cannot be decoded: {words[:300]}") from None


def _convert(dataset: Any, np: Any) -> Any:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    stored = dataset.pixel_array  # YBR becomes RGB here
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        return apply_color_lut(stored, dataset)
    if int(dataset.get("SamplesPerPixel", 1)) > 1:
        return stored
    values = apply_modality_lut(stored, dataset).astype(np.float32)
    if photometric == "MONOCHROME1":
        values = np.float32(_find_sum_of_ends(dataset)) - values
    return values


def _find_sum_of_ends(dataset: Any) -> float:
    """The least and the greatest value that the image can have, added: what turning it around subtracts from."""
    if dataset.get("ModalityLUTSequence"):
        return float(2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    bits = int(dataset.get("BitsStored", dataset.get("BitsAllocated", 16)))
    is_signed = bool(dataset.get("PixelRepresentation", 0))
    ends = -1 if is_signed else 2**bits - 1
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return float(ends)
    return float(slope) * ends + 2 * float(intercept)
