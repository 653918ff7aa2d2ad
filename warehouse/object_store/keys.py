"""The grammar of object keys: both layouts, both directions.

The two patterns below are the only definition of the layouts. Python's `re` and DuckDB's RE2 interpret them in the same
way, so that a refresh parses tens of millions of keys in SQL (sql/ingest/listing.sql) by the same grammar as `parse`; a
property test compares the two.

    dated      GROUP/PATIENT/images/DATE/IMAGE.dcm   images_metadata/DATE/IMAGE.json   data/DATE/data.json
    published  GROUP/KIND/PATIENT/STUDY/SERIES/IMAGE.dcm   GROUP/KIND-metadata/…/IMAGE.json
               GROUP/data/PATIENT/{data,status}_DATE.json
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

Kind = Literal["header", "dcm", "clinical", "other"]

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"

#: The folders of the published layout, one per modality; `x-ray` is the spelling of `xray` in spring 2020.
FOLDERS = ("ct", "mri", "xray", "x-ray", "unknown")
_FOLDER = "|".join(FOLDERS)

#: The groups that every bucket may have.
GROUPS = ("training", "validation")

#: GROUP and PATIENT first, the date before the name of the file.
DATED = (
    "(?P<group_name>[^/]+)/(?P<patient_id>[^/]+)/(?:"
    f"images/(?P<dcm_date>{_DATE})/(?P<dcm_id>[^/]+)\\.dcm"
    f"|images_metadata/(?P<header_date>{_DATE})/(?P<header_id>[^/]+)\\.json"
    f"|data/(?P<clinical_date>{_DATE})/data\\.json)"
)

#: The modality's folder first; images carry no date.
PUBLISHED = (
    "(?P<group_name>[^/]+)/(?:"
    "(?P<dcm_folder>" + _FOLDER + ")/(?P<dcm_patient>[^/]+)/(?P<dcm_study>[^/]+)"
    "/(?P<dcm_series>[^/]+)/(?P<dcm_id>[^/]+)\\.dcm"
    "|(?P<header_folder>" + _FOLDER + ")-metadata/(?P<header_patient>[^/]+)/(?P<header_study>[^/]+)"
    "/(?P<header_series>[^/]+)/(?P<header_id>[^/]+)\\.json"
    f"|data/(?P<clinical_patient>[^/]+)/(?P<record>data|status)_(?P<clinical_date>{_DATE})\\.json)"
)

#: The files of true answers that `chest sample` writes beside the groups; they are not objects of the bucket.
ANSWERS = ("truth.json", "truth_clinical.jsonl", "truth_patients.jsonl")

#: Names at the position of a patient in the dated layout that are not patients.
NO_PATIENTS = ("data", *FOLDERS, *(f"{folder}-metadata" for folder in FOLDERS))

_DATED = re.compile(DATED)
_PUBLISHED = re.compile(PUBLISHED)


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """A parsed key; every part as in the key, "" if the layout does not have it.

    `key_date` may be invalid (2020-02-31): `available_date` is then None. `other` is the complete key of an object
    that is neither an image, a header nor a clinical file.
    """

    kind: Kind
    layout: Literal["dated", "published", ""] = ""
    group_name: str = ""
    patient_id: str = ""
    key_date: str = ""
    folder: str = ""
    study_id: str = ""
    series_id: str = ""
    image_id: str = ""
    record: Literal["data", "status", ""] = ""
    other: str = ""

    @property
    def available_date(self) -> date | None:
        """The date in the key; None if it is missing or invalid."""
        try:
            return date.fromisoformat(self.key_date)
        except ValueError:
            return None


def parse_key(key: str) -> ObjectKey:
    """Parse any text; never raises. A key that fits neither layout is of kind `other`."""
    if match := _DATED.fullmatch(key):
        return _parse_dated(match.groupdict(default=""))
    if match := _PUBLISHED.fullmatch(key):
        return _parse_published(match.groupdict(default=""))
    return ObjectKey(kind="other", other=key)


def _parse_dated(found: dict[str, str]) -> ObjectKey:
    kind: Kind = "dcm" if found["dcm_id"] else "header" if found["header_id"] else "clinical"
    return ObjectKey(
        kind=kind,
        layout="dated",
        group_name=found["group_name"],
        patient_id=found["patient_id"],
        key_date=found[f"{kind}_date"],
        image_id=found["dcm_id"] or found["header_id"],
    )


def _parse_published(found: dict[str, str]) -> ObjectKey:
    kind: Kind = "dcm" if found["dcm_id"] else "header" if found["header_id"] else "clinical"
    if kind == "clinical":
        return ObjectKey(
            kind=kind,
            layout="published",
            group_name=found["group_name"],
            patient_id=found["clinical_patient"],
            key_date=found["clinical_date"],
            record="status" if found["record"] == "status" else "data",
        )
    return ObjectKey(
        kind=kind,
        layout="published",
        group_name=found["group_name"],
        patient_id=found[f"{kind}_patient"],
        folder=found[f"{kind}_folder"],
        study_id=found[f"{kind}_study"],
        series_id=found[f"{kind}_series"],
        image_id=found[f"{kind}_id"],
    )


def format_key(key: ObjectKey) -> str:
    """Format a key: the inverse of `parse` for everything that `parse` can return."""
    start = f"{key.group_name}/"
    match key.kind, key.layout:
        case "dcm", "dated":
            return f"{start}{key.patient_id}/images/{key.key_date}/{key.image_id}.dcm"
        case "header", "dated":
            return f"{start}{key.patient_id}/images_metadata/{key.key_date}/{key.image_id}.json"
        case "clinical", "dated":
            return f"{start}{key.patient_id}/data/{key.key_date}/data.json"
        case "clinical", _:
            return f"{start}data/{key.patient_id}/{key.record}_{key.key_date}.json"
        case (("dcm" | "header"), _):
            meta, suffix = ("", "dcm") if key.kind == "dcm" else ("-metadata", "json")
            ids = f"{key.patient_id}/{key.study_id}/{key.series_id}/{key.image_id}"
            return f"{start}{key.folder}{meta}/{ids}.{suffix}"
    return key.other


def list_prefixes(patient_id: str, group: str) -> list[str]:
    """The prefixes of all keys of a patient in a group, in both layouts."""
    folders = ["", *(f"{name}/" for name in NO_PATIENTS)]
    return [f"{group}/{folder}{patient_id}/" for folder in folders]


def list_group_names(pattern: str) -> list[str]:
    """List the named groups of one of the patterns above, in order."""
    return list(re.compile(pattern).groupindex)
