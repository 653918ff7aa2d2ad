"""The attributes that a search matches and returns, by level: study, series, instance (PS3.18 10.6.1.2, 10.6.3.3).

Columns of view `images` are DICOM attributes already (sql/columns/images.csv); here each has a level. Some attributes
are counted, and some only the headers have: sql/dicomweb/index.sql makes columns of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from warehouse.catalog import columns, dicom_dictionary

Level = Literal["study", "series", "instance"]

LEVELS: tuple[Level, ...] = ("study", "series", "instance")

#: Attributes of the tables of the index, by level; with the type of their column where view images has none.
_STUDY = {
    "StudyInstanceUID": "",
    "StudyDate": "",
    "StudyTime": "",
    "StudyID": "",
    "StudyDescription": "",
    "AccessionNumber": "VARCHAR",
    "ReferringPhysicianName": "VARCHAR",
    "PatientID": "",
    "PatientName": "",
    "PatientSex": "",
    "PatientAge": "",
    "PatientBirthDate": "DATE",
    "TimezoneOffsetFromUTC": "",
    "ModalitiesInStudy": "VARCHAR[]",
    "SOPClassesInStudy": "VARCHAR[]",
    "NumberOfStudyRelatedSeries": "BIGINT",
    "NumberOfStudyRelatedInstances": "BIGINT",
    "InstanceAvailability": "VARCHAR",
}
_SERIES = {
    "SeriesInstanceUID": "",
    "Modality": "",
    "SeriesNumber": "",
    "SeriesDate": "",
    "SeriesTime": "",
    "SeriesDescription": "",
    "ProtocolName": "",
    "BodyPartExamined": "",
    "Laterality": "",
    "Manufacturer": "",
    "ManufacturerModelName": "",
    "StationName": "",
    "PerformedProcedureStepStartDate": "DATE",
    "PerformedProcedureStepStartTime": "TIME",
    "RequestAttributesSequence": "JSON",
    "ScheduledProcedureStepID": "VARCHAR",
    "RequestedProcedureID": "VARCHAR",
    "NumberOfSeriesRelatedInstances": "BIGINT",
}
#: Searched as items of a sequence (PS3.18 8.3.4.1): RequestAttributesSequence.ScheduledProcedureStepID.
REQUESTS = "RequestAttributesSequence"
_IN_REQUESTS = ("ScheduledProcedureStepID", "RequestedProcedureID")

#: What is returned whether it is asked for or not (PS3.18 tables 10.6.3-3 to 10.6.3-5).
REQUIRED: dict[Level, tuple[str, ...]] = {
    "study": (
        *("StudyDate", "StudyTime", "AccessionNumber", "InstanceAvailability", "ModalitiesInStudy"),
        *("ReferringPhysicianName", "TimezoneOffsetFromUTC", "PatientName", "PatientID", "PatientBirthDate"),
        *("PatientSex", "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries"),
        *("NumberOfStudyRelatedInstances", "StudyDescription"),
    ),
    "series": (
        *("Modality", "TimezoneOffsetFromUTC", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber"),
        *("NumberOfSeriesRelatedInstances", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
        *("RequestAttributesSequence", "InstanceAvailability", "StudyInstanceUID"),
    ),
    "instance": (
        *("SOPClassUID", "SOPInstanceUID", "InstanceAvailability", "TimezoneOffsetFromUTC", "InstanceNumber"),
        *("Rows", "Columns", "BitsAllocated", "NumberOfFrames", "StudyInstanceUID", "SeriesInstanceUID"),
    ),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the index or of view `images`: its level, VR, and the type of its column."""

    keyword: str
    tag: str
    vr: str
    level: Level
    type: str

    @property
    def column(self) -> str:
        """The name of its column: PatientID is the patient of the key."""
        return "patient_id" if self.keyword == "PatientID" else self.keyword


@cache
def map_attributes() -> dict[str, Attribute]:
    """Every attribute that a search knows, by keyword."""
    images = {column.name: column for column in columns.list_dicom_columns()}
    found: dict[str, Attribute] = {}
    levels: tuple[tuple[Level, dict[str, str]], ...] = (
        ("study", _STUDY),
        ("series", _SERIES),
        ("instance", dict.fromkeys(images, "")),
    )
    for level, names in levels:
        for name, type_ in names.items():
            known = _find(name)
            if known and name not in found:
                # "OB or OW" is never a column; "US or SS" is written as US.
                vr = known.vr.split(" ")[0]
                found[name] = Attribute(name, known.tag, vr, level, type_ or images[name].type)
    return found


def is_shown_by(attribute: Attribute, level: Level) -> bool:
    """Whether results of a level have the attribute: it is of that level, or of one above."""
    return LEVELS.index(attribute.level) <= LEVELS.index(level)


def find_keyword(name: str) -> str:
    """The keyword of an attribute by its keyword or its tag (eight hex digits); "" if the dictionary lacks it.

    An item of the requests of a series is named with its sequence, as RequestAttributesSequence.RequestedProcedureID.
    """
    first, _, rest = name.partition(".")
    keyword = _find_one(first)
    if not rest:
        return keyword
    inner = _find_one(rest)
    return inner if keyword == REQUESTS and inner in _IN_REQUESTS else ""


def is_item_of_requests(keyword: str) -> bool:
    """Whether an attribute is found only within the requests of a series."""
    return keyword in _IN_REQUESTS


def _find_one(name: str) -> str:
    if len(name) == 8 and (known := _by_tag().get(name.upper())):
        return known
    return name if _find(name) else ""


@cache
def _by_keyword() -> dict[str, dicom_dictionary.Attribute]:
    return {attribute.keyword: attribute for attribute in dicom_dictionary.list_attributes()}


@cache
def _by_tag() -> dict[str, str]:
    return {attribute.tag: attribute.keyword for attribute in dicom_dictionary.list_attributes()}


def _find(keyword: str) -> dicom_dictionary.Attribute | None:
    return _by_keyword().get(keyword)


def find_tag(keyword: str) -> str:
    """The tag of a keyword of the dictionary."""
    return _by_keyword()[keyword].tag
