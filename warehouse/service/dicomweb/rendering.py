"""Renders a frame for eyes: modality LUT, window (VOI LUT), inversion; then JPEG or PNG (PS3.18 8.3.5, 10.4.1.1.3).

The order is that of PS3.3 C.11.1 and C.11.2 and PS3.4 N.2. Without a window in the request it is the first of the
file, and without one there, all values of the frame.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warehouse.errors import UsageError
from warehouse.service.dicomweb.errors import UndecodableError
from warehouse.service.dicomweb.frames import Pixels, decode_frame

_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "linear_exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
#: The most pixels on a side of what is rendered.
_LARGEST_SIDE = 8_192
THUMBNAIL_SIDE = 128


@dataclass(frozen=True, slots=True)
class View:
    """How to render: the window (centre, width, function), the region and the size, and the quality of JPEG."""

    window: tuple[float, float, str] | None = None
    size: tuple[int, int] | None = None
    region: tuple[int, int, int, int] | None = None
    quality: int = 90


def parse_view(given: Mapping[str, str]) -> View:
    """Parse the parameters `window`, `viewport` and `quality` (PS3.18 8.3.5.1); UsageError if they are not valid."""
    size, region = _parse_viewport(given["viewport"]) if given.get("viewport") else (None, None)
    quality = given.get("quality", "90")
    if not (quality.isascii() and quality.isdigit() and len(quality) <= 3 and 1 <= int(quality) <= 100):
        raise UsageError("quality is a whole number from 1 to 100.")
    return View(_parse_window(given["window"]) if given.get("window") else None, size, region, int(quality))


def _parse_window(text: str) -> tuple[float, float, str]:
    words = text.split(",")
    try:
        if len(words) != 3:
            raise ValueError
        centre, width = float(words[0]), float(words[1])
        function = _FUNCTIONS[words[2].strip().lower()]
        if not (abs(centre) < 1e9 and 0 < width < 1e9) or (function == "LINEAR" and width < 1):
            raise ValueError
    except (ValueError, KeyError):
        raise UsageError(
            "window is CENTRE,WIDTH,FUNCTION, as 40,400,linear; the function is linear, linear-exact or sigmoid."
        ) from None
    return centre, width, function


def _parse_viewport(text: str) -> tuple[tuple[int, int], tuple[int, int, int, int] | None]:
    words = [word.strip() for word in text.split(",")]
    try:
        if len(words) not in (2, 6):
            raise ValueError
        width, height = int(words[0]), int(words[1])
        if not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
            raise ValueError
        if len(words) == 2:
            return (width, height), None
        left, top, across, down = (int(word) if word else 0 for word in words[2:])
        if left < 0 or top < 0:
            raise ValueError
        return (width, height), (left, top, across, down)
    except ValueError:
        raise UsageError(
            f"viewport is WIDTH,HEIGHT of at most {_LARGEST_SIDE} pixels each, or these and the region of the image: "
            "LEFT,TOP,WIDTH,HEIGHT."
        ) from None


def render_frame(pixels: Pixels, number: int, view: View, media: str) -> bytes:
    """Render a frame as image/jpeg or image/png."""
    from PIL import Image

    shown = Image.fromarray(_to_display(pixels, number, view))
    if view.region:
        left, top, across, down = view.region
        right = min(shown.width, left + across) if across else shown.width
        bottom = min(shown.height, top + down) if down else shown.height
        if left >= right or top >= bottom:
            raise UsageError(f"The region of viewport is outside the image of {shown.width} by {shown.height} pixels.")
        shown = shown.crop((left, top, right, bottom))
    if view.size:
        scale = min(view.size[0] / shown.width, view.size[1] / shown.height)
        size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
        shown = shown.resize(size, Image.Resampling.BILINEAR)
    to = io.BytesIO()
    if media == "image/png":
        shown.save(to, "PNG")
    else:
        shown.save(to, "JPEG", quality=view.quality)
    return to.getvalue()


def _to_display(pixels: Pixels, number: int, view: View) -> Any:
    """The values that are displayed: bytes, 0 black and 255 white, or RGB."""
    import numpy as np
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    dataset, stored = pixels.dataset, decode_frame(pixels, number)
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    try:
        if photometric == "PALETTE COLOR":
            colours = apply_color_lut(stored, dataset)
            return (colours >> 8).astype(np.uint8) if colours.dtype.itemsize > 1 else colours
        if stored.ndim == 3:
            return (stored >> 8).astype(np.uint8) if stored.dtype.itemsize > 1 else stored
        values = apply_modality_lut(stored, dataset).astype(np.float64)
        shown = _apply_window(values, dataset, view, np)
    except (
        *(AttributeError, ValueError, TypeError, IndexError, KeyError),
        *(OverflowError, NotImplementedError),
    ) as error:
        raise UndecodableError(f"Frame {number} cannot be rendered: {' '.join(str(error).split())[:200]}") from None
    # MONOCHROME1: the smallest value is white (PS3.3 C.7.6.3.1.2); INVERSE likewise (PS3.3 C.11.6.1).
    if (photometric == "MONOCHROME1") != (str(dataset.get("PresentationLUTShape", "")) == "INVERSE"):
        shown = 1.0 - shown
    return np.rint(shown * 255).astype(np.uint8)


def _apply_window(values: Any, dataset: Any, view: View, np: Any) -> Any:
    """Values from 0 to 1: by the window of the request, the VOI LUT or window of the file, or the frame's range."""
    if view.window is None and dataset.get("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi

        mapped = apply_voi(values.astype(np.int64), dataset).astype(np.float64)
        return mapped / float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    centre, width, function = view.window or _find_window(dataset)
    if not width:
        low, high = float(values.min()), float(values.max())
        return (values - low) / ((high - low) or 1.0)
    if function == "SIGMOID":  # PS3.3 C.11.2.1.3.1
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":  # PS3.3 C.11.2.1.3.2
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1


def _find_window(dataset: Any) -> tuple[float, float, str]:
    """The first window of the file; a width of 0 where it has none."""
    from pydicom.multival import MultiValue

    found = []
    for name in ("WindowCenter", "WindowWidth"):
        value = dataset.get(name)
        first = value[0] if isinstance(value, MultiValue) and value else value
        found.append(float(first) if first not in (None, "") and not isinstance(first, MultiValue) else None)
    centre, width = found
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if centre is None or width is None or width < (0 if function != "LINEAR" else 1):
        return 0.0, 0.0, function
    return centre, width, function
