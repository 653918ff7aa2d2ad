"""Series of slices as real DICOM files, and their headers: what a test turns, shifts or drops."""

import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

DAY = "2020-04-01"


@dataclass(frozen=True)
class Stack:
    """A series: slices at `heights` (in steps), turned by a quaternion, sheared by the tilt of a gantry."""

    name: str
    heights: tuple[float, ...] = (0, 1, 2, 3, 4, 5)
    spacing: float = 1.0
    turn: tuple[float, float, float, float] = (1, 0, 0, 0)
    tilt: float = 0.0
    origin: tuple[float, float, float] = (-120.5, -98.25, 33.0)
    patient: str = "p"
    study: str = "1.2.3"
    shared: dict[str, object] = field(default_factory=dict)
    #: Attributes of single images, by their place in the series.
    own: dict[int, dict[str, object]] = field(default_factory=dict)
    order: tuple[int, ...] = ()

    def with_(self, **changes: object) -> "Stack":
        return replace(self, **changes)  # type: ignore[arg-type]


def rotation(turn: tuple[float, float, float, float]) -> np.ndarray:
    """The matrix of a quaternion of any length."""
    w, x, y, z = np.array(turn) / np.linalg.norm(turn)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def files(stack: Stack) -> list[Dataset]:
    """The DICOM files of a stack, in the order of `order`."""
    axes = rotation(stack.turn)
    row, column, normal = axes[:, 0], axes[:, 1], axes[:, 2]
    found = []
    for number, height in enumerate(stack.heights):
        along = height * stack.spacing
        place = np.array(stack.origin) + along * normal + along * math.tan(math.radians(stack.tilt)) * column
        image = Dataset()
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = f"{stack.study}.{hash_of(stack.name)}.{number + 1}"
        image.StudyInstanceUID, image.SeriesInstanceUID = stack.study, f"{stack.study}.{hash_of(stack.name)}"
        image.Modality, image.PatientID, image.StudyDate = "CT", stack.patient, DAY.replace("-", "")
        image.SeriesDescription, image.BodyPartExamined = stack.name, "CHEST"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.InstanceNumber, image.SeriesNumber = number + 1, 1
        image.ImagePositionPatient = [decimal(value) for value in place]
        image.ImageOrientationPatient = [decimal(value) for value in (*row, *column)]
        image.PixelSpacing, image.SliceThickness = [0.7, 0.7], decimal(stack.spacing)
        image.Rows = image.Columns = 4
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        for keyword, value in {**stack.shared, **stack.own.get(number, {})}.items():
            if value is not None:
                setattr(image, keyword, value)
            elif keyword in image:
                delattr(image, keyword)
        image.PixelData = bytes(2 * int(image.Rows) * int(image.Columns))
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found.append(image)
    return [found[number] for number in stack.order or range(len(found))]


def hash_of(name: str) -> int:
    """A number that stands for a name."""
    return int.from_bytes(name.encode()[:8], "big")


def decimal(value: float) -> str:
    """A decimal string of DICOM, 16 characters at most."""
    return str(pydicom.valuerep.DSfloat(float(value), auto_format=True))


def objects(stacks: Iterable[Stack]) -> dict[str, bytes | str]:
    """The objects of stacks in the dated layout: .dcm and header; keys are in the order of the files."""
    found: dict[str, bytes | str] = {}
    for stack in stacks:
        for number, image in enumerate(files(stack)):
            name = f"{stack.name}-{number:03}"
            buffer = io.BytesIO()
            image.save_as(buffer, enforce_file_format=True)
            found[f"training/{stack.patient}/images/{DAY}/{name}.dcm"] = buffer.getvalue()
            del image.PixelData
            header = json.dumps(image.to_json_dict())
            found[f"training/{stack.patient}/images_metadata/{DAY}/{name}.json"] = header
    return found
