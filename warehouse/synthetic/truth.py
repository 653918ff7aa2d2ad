"""The answers of a correct warehouse to a synthetic bucket, counted while it is written: truth.json and two more files.

truth_clinical.jsonl has a line per clinical file: its clean values with units, and the rules that cleaning must report.
truth_patients.jsonl has a line per patient: age and sex, with their sources. All three are the same for both
key layouts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import TextIO

from warehouse.synthetic import defects
from warehouse.synthetic.images import HeaderDemographics, Image
from warehouse.synthetic.patients import LAST_RECORD
from warehouse.synthetic.records import Record

# Spread over the range; the last one includes everything.
AS_OF = (date(2020, 3, 31), date(2020, 7, 1), date(2020, 12, 31), date(2021, 6, 30), LAST_RECORD)

FAULTS = (
    *(defects.ANOTHER_PATIENT, defects.TWICE, defects.NO_HEADER, defects.NO_DCM, defects.TOO_EARLY),
    *(defects.ATTRIBUTES, defects.TEXT),
    *("death_before_admission", "intubation_without_itu", "negative_with_positive_result"),
    *("images_without_clinical", "record_of_another_patient", "new_field"),
)
"""The checks (sql/checks) whose faults are inserted or arise by chance."""


@dataclass
class Truth:
    """Counts what is written, patient by patient; keeps a date per patient and as-of day, and the faults."""

    clinical: TextIO
    patients: TextIO
    counts: Counter[str] = field(default_factory=Counter)
    modality: Counter[str] = field(default_factory=Counter)
    uploads: Counter[date] = field(default_factory=Counter)
    latest: dict[date, dict[str, str]] = field(default_factory=lambda: {day: {} for day in AS_OF})
    stacks: Counter[str] = field(default_factory=Counter)
    issues: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=lambda: {fault: [] for fault in FAULTS})

    def add(self, patient_id: str, face: HeaderDemographics, images: list[Image], records: list[Record]) -> None:
        """Count the objects of one patient."""
        headers = [image for image in images if image.header is not None]
        self.counts["objects"] += len(headers) + sum(image.has_dcm for image in images) + len(records)
        self.counts["image_json"] += len(headers)
        self.counts["clinical_json"] += len(records)
        self.counts["patients"] += bool(headers or records)
        self.counts["studies"] += len({image.study for image in headers})
        self.counts["series"] += len({image.series for image in headers})
        self.modality.update(image.modality for image in headers)
        self.stacks.update({i.series: i.stack for i in headers if i.modality == "CT"}.values())
        self.uploads.update(image.day for image in headers)
        for day in AS_OF:
            if chosen := _choose_record(records, day):
                self.latest[day][patient_id] = chosen.day.isoformat()
        self._add_faults(patient_id, images, records)
        for record in records:
            self._add_record(patient_id, record)
        if headers or records:
            self._add_patient(patient_id, face if headers else None, _choose_record(records, LAST_RECORD))

    def _add_faults(self, patient_id: str, images: list[Image], records: list[Record]) -> None:
        for image in images:
            if image.fault:
                self.faults[image.fault].append(image.image)
        if images and not records:
            self.faults["images_without_clinical"].append(patient_id)
        for fault in _find_faults(_choose_record(records, LAST_RECORD)):
            self.faults[fault].append(patient_id)

    def _add_record(self, patient_id: str, record: Record) -> None:
        self.issues.update(rule for _, rule in record.issues)
        if record.values["pseudonym"] != patient_id:
            self.faults["record_of_another_patient"].append(patient_id)
        self.faults["new_field"] += record.new_fields
        line = {
            "patient_id": patient_id,
            "kind": record.kind,
            "available_date": record.day.isoformat(),
            "values": record.values,
            "units": record.units,
            "issues": record.issues,
        }
        self.clinical.write(json.dumps(line, default=date.isoformat) + "\n")

    def _add_patient(self, patient_id: str, face: HeaderDemographics | None, record: Record | None) -> None:
        line: dict[str, object] = {"patient_id": patient_id}
        for name, of_header in (("age", face and face.age), ("sex", face and face.sex)):
            of_record = record and record.values.get(name)
            line[name] = of_header if of_record is None else of_record
            line[f"{name}_source"] = "record" if of_record is not None else "header" if of_header is not None else None
        self.patients.write(json.dumps(line) + "\n")

    def answers(self) -> dict[str, object]:
        """The content of truth.json."""
        names = ("objects", "image_json", "clinical_json", "patients", "studies", "series")
        return {
            "as_of": {day.isoformat(): self._as_of(day) for day in AS_OF},
            **{name: self.counts[name] for name in names},
            "modality": dict(sorted(self.modality.items())),
            "ct_series": dict(sorted(self.stacks.items())),
            "clinical_issues": dict(sorted(self.issues.items())),
            "faults": {fault: sorted(set(found)) for fault, found in sorted(self.faults.items())},
        }

    def _as_of(self, day: date) -> dict[str, object]:
        latest = self.latest[day]
        return {
            "patients": len(latest),
            "images": sum(count for uploaded, count in self.uploads.items() if uploaded <= day),
            "latest_digest": hashlib.sha256(json.dumps(latest, sort_keys=True).encode()).hexdigest(),
        }


def _choose_record(records: list[Record], day: date) -> Record | None:
    """The record in effect on a day: a data file before any status file, then the newest."""
    available = [record for record in records if record.day <= day]
    return max(available, key=lambda record: (record.kind == "data", record.day), default=None)


def _find_faults(record: Record | None) -> Iterable[str]:
    """The contradictions between values of the record in effect."""
    values = record.values if record else {}
    admitted, died = values.get("date_of_admission"), values.get("date_of_death")
    if isinstance(admitted, date) and isinstance(died, date) and died < admitted:
        yield "death_before_admission"
    if values.get("intubation") and not values.get("itu_admission"):
        yield "intubation_without_itu"
    swabs = values.get("swabdates")
    results = [swab["swab_status"] for swab in swabs] if isinstance(swabs, list) else []
    if record and record.kind == "status" and "Positive" in (values.get("swab_status"), *results):
        yield "negative_with_positive_result"
