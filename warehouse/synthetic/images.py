"""Invents the images of a patient: studies, headers, uploads and defects."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from warehouse.synthetic import defects
from warehouse.synthetic.dicom_files import dicom_file
from warehouse.synthetic.entries import RecordWriter
from warehouse.synthetic.headers import (
    Header,
    assign_equipment,
    convert_numbers_to_text,
    draw_time,
    draw_uid,
    load_catalogue,
    load_template,
    sends_text,
    set_attributes,
)
from warehouse.synthetic.patients import FIRST_DAY, LAST_DAY, Person
from warehouse.synthetic.series import SERIES
from warehouse.synthetic.stacks import stack_slices

STUB = b"DICM"
"""What a .dcm is where files of the real kind are not asked for."""

_SMALLER = {"xray": 64, "ct": 16, "mri": 8}
"""How many pixels of the machine one pixel of the sample stands for, each way."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its ids, upload day, header (or None), the bytes of its .dcm (or None), and its defect."""

    modality: str
    study: str
    series: str
    image: str
    day: date
    header: bytes | None
    body: bytes | None
    fault: str = ""
    stack: str = ""
    """How the slices of its series lie (stacks.py); "" for what is not a CT."""

    @property
    def has_dcm(self) -> bool:
        """Whether there is a .dcm."""
        return self.body is not None


@dataclass(frozen=True, slots=True)
class HeaderDemographics:
    """Age and sex in all headers of a patient, and their meaning."""

    age_text: str | None
    age: float | None
    sex_text: str | None
    sex: str | None


def invent_face(pen: RecordWriter, person: Person) -> HeaderDemographics:
    """Draw the demographics in headers: age in years, for the youngest in other units, or bare, or missing."""
    age_text, age = _write_dicom_age(pen, person.age)
    sex = pen.rng.choice((None, "O")) if pen.slips(0.015) else person.sex
    return HeaderDemographics(age_text, age, sex, sex if sex in ("F", "M") else None)


def _write_dicom_age(pen: RecordWriter, age: float) -> tuple[str | None, float | None]:
    if pen.slips(0.015):
        return None, None
    if pen.slips(0.03):
        return f"{int(age)}", float(int(age))
    for unit, of_year, until in (("D", 365, 0.1), ("W", 52, 0.3), ("M", 12, 2)):
        if age < until:
            number = int(age * of_year)
            return f"{number:03}{unit}", number / of_year
    return f"{int(age):03}Y", float(int(age))


def invent_images(
    rng: random.Random, pen: RecordWriter, person: Person, face: HeaderDemographics, *, stubs: bool = False
) -> Iterator[Image]:
    """Draw the studies of a patient, about 2.9 of them, most of them X-rays soon after the onset."""
    more = 2.5 if person.positive else 1.55
    studies = 1 + min(25, int(rng.expovariate(math.log(1 + 1 / more))))
    for _ in range(studies):
        after = -rng.randint(1, 60) if rng.random() < 0.12 else int(rng.expovariate(1 / 9))
        day = min(LAST_DAY, max(FIRST_DAY, person.onset + timedelta(days=after)))
        kind = rng.choices(("xray", "ct", "mri"), (818, 180, 2))[0]
        yield from _invent_study(rng, pen, person, face, day, kind, stubs=stubs)


def _invent_study(
    rng: random.Random,
    pen: RecordWriter,
    person: Person,
    face: HeaderDemographics,
    day: date,
    kind: str,
    *,
    stubs: bool,
) -> Iterator[Image]:
    """Draw one study: the shared attributes of its headers, then its series, image by image."""
    rooms, weights = assign_equipment(person.centre, kind)
    modality, maker, model, rows, columns, station = rng.choices(rooms, weights)[0]
    study = draw_uid(rng)
    common = load_template(modality, maker)
    if pen.slips(0.006):
        modality = "OT"  # a secondary capture
    set_attributes(
        common, StudyInstanceUID=study, StudyDate=f"{day:%Y%m%d}", AcquisitionDate=f"{day:%Y%m%d}",
        StudyTime=draw_time(rng), AccessionNumber=f"{station[:3]}{rng.randrange(10**7):07}", Modality=modality,
        Manufacturer=maker, ManufacturerModelName=model, StationName=station,
        Rows=rows // _SMALLER[kind], Columns=columns // _SMALLER[kind],
        PatientID=person.patient_id, PatientName={"Alphabetic": person.patient_id}, PatientSex=face.sex_text,
        PatientBirthDate=f"{day.year - int(person.age)}0101", PatientAge=face.age_text,
    )  # fmt: skip
    set_attributes(common, StudyDescription=rng.choice(load_catalogue()["studies"][kind]))
    uploaded = day + timedelta(days=min(20, int(rng.expovariate(1 / 5))))
    fault = defects.draw_study_fault(pen)
    if fault == defects.TOO_EARLY:
        uploaded = day - timedelta(days=pen.rng.randint(1, 5))
    defects.apply_fault(pen, common, person, fault)
    finish = convert_numbers_to_text if sends_text(person.centre) else dict
    for number, drawn in enumerate(SERIES[kind](rng), 1):
        series, header = draw_uid(rng), dict(common)
        stack, shared, instances = stack_slices(series, *drawn, clean=pen.tidy) if kind == "ct" else ("", *drawn)
        set_attributes(header, SeriesInstanceUID=series, SeriesNumber=number, **shared)
        _enlarge_pixels(header, _SMALLER[kind])
        for instance, values in enumerate(instances, 1):
            image = draw_uid(rng)
            set_attributes(header, SOPInstanceUID=image, InstanceNumber=instance, **values)
            body = STUB if stubs else dicom_file(header, is_hazy=person.positive)
            sent = Image(modality, study, series, image, uploaded, _to_json(finish(header)), body, fault, stack)
            yield from _simulate_upload(pen, sent)


def _enlarge_pixels(header: Header, factor: int) -> None:
    """Give the fewer pixels of the sample the field of view of the machine."""
    for keyword, tag in (("PixelSpacing", "00280030"), ("ImagerPixelSpacing", "00181164")):
        if header.get(tag):
            set_attributes(header, **{keyword: [round(value * factor, 6) for value in header[tag]["Value"]]})


def _simulate_upload(pen: RecordWriter, image: Image) -> Iterator[Image]:
    """The image as uploaded: rarely without its .dcm, twice, or with another .dcm without header."""
    if not image.fault and pen.slips(0.01):
        yield replace(image, body=None, fault=defects.NO_DCM)
    elif not image.fault and pen.slips(0.003):
        yield replace(image, fault=defects.TWICE)
        yield replace(image, image=draw_uid(pen.rng), fault=defects.TWICE)  # the same image under another name
    else:
        yield image
    if pen.slips(0.005):
        yield replace(image, image=draw_uid(pen.rng), header=None, fault=defects.NO_HEADER)


def _to_json(header: Header) -> bytes:
    return json.dumps(header).encode()
