"""Small pixels for invented images: a chest in outline, drawn once for each size and kind of image, and kept.

The lungs of patients with a positive swab are hazy at their bases, so that there is something to learn. Frames are
uncompressed, RLE Lossless, or, for CT, JPEG 2000; frames of JPEG 2000 come ready-made (frames.json), since the
encoder is not a dependency.
"""

from __future__ import annotations

import base64
import functools
import json
import random
import struct
from importlib import resources

EXPLICIT, RLE, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"
VARIANTS = 4
"""How many frames there are of each kind; all images share them."""


@functools.cache
def raw_frame(modality: str, rows: int, columns: int, variant: int, *, is_hazy: bool) -> bytes:
    """The values of a frame, 16 bits each: Hounsfield units + 1024 for CT and MR, 12 bits of density for X-rays."""
    rng = random.Random(f"{modality}/{rows}/{columns}/{variant}/{is_hazy}")
    values = []
    for row in range(rows):
        for column in range(columns):
            down, across = (row + 0.5) / rows, (column + 0.5) / columns
            is_body = ((down - 0.5) / 0.48) ** 2 + ((across - 0.5) / 0.46) ** 2 < 1
            is_lung = any(((down - 0.5) / 0.34) ** 2 + ((across - side) / 0.16) ** 2 < 1 for side in (0.3, 0.7))
            value = (180 if is_lung else 1060) if is_body else 24
            if is_lung and is_hazy and down > 0.55:
                value += 360
            value += rng.randint(-20, 20)
            values.append(value if modality in ("CT", "MR") else min(4095, 3000 - 2 * value))
    return struct.pack(f"<{len(values)}H", *values)


@functools.cache
def pixel_data(syntax: str, modality: str, rows: int, columns: int, variant: int, *, is_hazy: bool) -> bytes:
    """The element PixelData of an explicit little endian file, encapsulated where the syntax is a compressed one."""
    if syntax == EXPLICIT:
        frame = raw_frame(modality, rows, columns, variant, is_hazy=is_hazy)
        return b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", len(frame)) + frame
    from pydicom.encaps import encapsulate

    body = encapsulate([compressed_frame(syntax, modality, rows, columns, variant, is_hazy=is_hazy)])
    return b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + body + b"\xfe\xff\xdd\xe0\0\0\0\0"


def compressed_frame(syntax: str, modality: str, rows: int, columns: int, variant: int, *, is_hazy: bool) -> bytes:
    """A frame in RLE Lossless or JPEG 2000."""
    if syntax == JPEG_2000:
        return base64.b64decode(_ready_made()[f"{rows}x{columns}/{variant}/{int(is_hazy)}"])
    from pydicom.pixels.encoders.base import RLELosslessEncoder

    frame = raw_frame(modality, rows, columns, variant, is_hazy=is_hazy)
    encoded: bytes = RLELosslessEncoder.encode(
        frame, rows=rows, columns=columns, samples_per_pixel=1, bits_allocated=16, bits_stored=16, number_of_frames=1,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom",
    )  # fmt: skip
    return encoded


@functools.cache
def _ready_made() -> dict[str, str]:
    """Frames of CT in JPEG 2000: signed values of 16 bits, in base64 by size, variant and haze."""
    text = resources.files("warehouse.synthetic").joinpath("frames.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found
