"""DICOM files for tests: small, valid, and written by pydicom."""

import io
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

CT = "1.2.840.10008.5.1.4.1.1.2"
#: Bytes that occur in no header.
PIXELS = b"\x13\x37pixels\x13\x37" * 64


def build_dataset(patient: str, image: str, **attributes: Any) -> Dataset:
    """A CT image's data set; attributes by keyword."""
    dataset = Dataset()
    values = {
        "SOPClassUID": CT,
        "SOPInstanceUID": image,
        "StudyInstanceUID": f"{image}.1",
        "SeriesInstanceUID": f"{image}.2",
        "StudyDate": "20200401",
        "Modality": "CT",
        "PatientID": patient,
        "Rows": 8,
        "Columns": 8,
        "BitsAllocated": 8,
    }
    for name, value in (values | attributes).items():
        setattr(dataset, name, value)
    return dataset


def write_file(dataset: Dataset, syntax: str = ExplicitVRLittleEndian, pixels: bytes = PIXELS) -> bytes:
    """A DICOM file of a data set."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if pixels and "PixelData" not in dataset:
        dataset.add_new(0x7FE00010, "OB", pixels)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def build_file(patient: str, image: str, **attributes: Any) -> bytes:
    """A CT image as a file."""
    return write_file(build_dataset(patient, image, **attributes))


def build_deflated(patient: str, image: str, **attributes: Any) -> bytes:
    """The same in the deflated transfer syntax."""
    return write_file(build_dataset(patient, image, **attributes), DeflatedExplicitVRLittleEndian)


def build_compressed(patient: str, image: str) -> bytes:
    """The same with pixels that are encapsulated, as those of any compressed image."""
    dataset = build_dataset(patient, image)
    dataset.add_new(0x7FE00010, "OB", encapsulate([PIXELS]))
    dataset["PixelData"].is_undefined_length = True
    return write_file(dataset, RLELossless, pixels=b"")
