"""Defects of images: headers of other patients, impossible dates, identifying data left in a header.

All names, addresses and numbers are fictitious: NHS numbers of the test range (999), telephone numbers that Ofcom
reserves for drama, a postcode that does not exist.
"""

from __future__ import annotations

import random

from warehouse.synthetic.entries import RecordWriter
from warehouse.synthetic.headers import Header, set_attributes
from warehouse.synthetic.patients import Person, invent_other_id

ANOTHER_PATIENT = "image_of_another_patient"
TWICE = "duplicate_sop_instance_uid"
NO_HEADER = "dcm_without_metadata"
NO_DCM = "metadata_without_dcm"
TOO_EARLY = "study_after_available"
ATTRIBUTES = "identifying_attributes"
TEXT = "identifying_text"

# Shares of all studies; a defect of a study is in each of its headers.
_SHARES = {ANOTHER_PATIENT: 0.006, TOO_EARLY: 0.006, ATTRIBUTES: 0.006, TEXT: 0.006}

_FAMILY = ("SAMPLE", "SPECIMEN", "EXAMPLE", "TESTER")
_GIVEN = ("JOHN", "JANE", "ALEX", "ROBIN")
_COMMENTS = ("ImageComments", "PatientComments", "AdditionalPatientHistory", "StudyDescription")


def draw_study_fault(pen: RecordWriter) -> str:
    """Draw the defect of a study; "" for most."""
    return next((fault for fault, share in _SHARES.items() if pen.slips(share)), "")


def apply_fault(pen: RecordWriter, header: Header, person: Person, fault: str) -> None:
    """Apply the defect to the attributes that the headers of a study share."""
    rng = pen.rng
    if fault == ANOTHER_PATIENT:
        other = invent_other_id(person.patient_id)
        set_attributes(header, PatientID=other, PatientName={"Alphabetic": other})
    elif fault == ATTRIBUTES:
        keyword, value = rng.choice(_invent_attributes(rng))
        set_attributes(header, **{keyword: value})
    elif fault == TEXT:
        set_attributes(header, **{rng.choice(_COMMENTS): rng.choice(_invent_texts(rng))})


def _invent_attributes(rng: random.Random) -> list[tuple[str, object]]:
    """Attributes that DICOM's Basic Profile removes, with values that could have been left."""
    family, given = rng.choice(_FAMILY), rng.choice(_GIVEN)
    return [
        ("PatientName", {"Alphabetic": f"{family}^{given}"}),
        ("PatientBirthDate", f"{rng.randint(1930, 2000)}0317"),
        ("PatientAddress", "1 Example Street, Sampleton"),
        ("PatientTelephoneNumbers", _invent_telephone(rng)),
        ("ReferringPhysicianName", {"Alphabetic": f"{family}^{given}^^Dr"}),
        ("PerformingPhysicianName", {"Alphabetic": f"{family}^{given}^^Dr"}),
        ("OperatorsName", {"Alphabetic": f"{family}^{given}"}),
        ("InstitutionName", "Sampleton General Hospital"),
        ("InstitutionAddress", "1 Example Street, Sampleton ZZ99 3VZ"),
    ]


def _invent_texts(rng: random.Random) -> list[str]:
    """Invent free text that identifies a person."""
    family, given = rng.choice(_FAMILY).title(), rng.choice(_GIVEN).title()
    return [
        f"Portable film of Mr {given} {family}",
        f"DOB {rng.randint(1, 28):02}/{rng.randint(1, 12):02}/{rng.randint(1930, 2000)}",
        f"NHS No {_invent_nhs_number(rng)}",
        "Lives at ZZ99 3VZ",
        f"Tel {_invent_telephone(rng)}",
    ]


def _invent_nhs_number(rng: random.Random) -> str:
    """Invent a number of the test range with a valid check digit."""
    while True:
        digits = [9, 9, 9, *(rng.randrange(10) for _ in range(6))]
        check = -sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
        if check < 10:
            text = "".join(map(str, [*digits, check]))
            return rng.choice((text, f"{text[:3]} {text[3:6]} {text[6:]}"))


def _invent_telephone(rng: random.Random) -> str:
    return f"{rng.choice(('01632 960', '07700 900', '020 7946 0'))}{rng.randrange(1000):03}"
