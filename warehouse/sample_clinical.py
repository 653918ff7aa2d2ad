"""Invent people and their clinical records, with the habits and slips of the centres that send them.

Belongs here: who a patient is and what the clinical files say. Does not: images, keys and files (sample.py).
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

# Centres with the share of patients each sends. The first six are those with known units.
CENTRES: dict[str, int] = {
    "Imperial College Healthcare NHS Trust": 9,
    "Cambridge University Hospitals NHS Foundation Trust": 8,
    "Royal Cornwall Hospitals NHS Trust": 5,
    "West Suffolk NHS Foundation Trust": 4,
    "Sheffield Childrens NHS Foundation Trust": 1,
    "Norfolk and Norwich University Hospitals NHS Foundation Trust": 7,
    "Royal United Hospitals Bath NHS Foundation Trust": 7,
    "Brighton and Sussex University Hospitals NHS Trust": 6,
    "London North West University Healthcare NHS Trust": 6,
    "George Eliot Hospital NHS Trust": 3,
    "Cwm Taf Morgannwg University Health Board": 4,
    "Betsi Cadwaladr University Health Board": 4,
    "Leeds Teaching Hospitals NHS Trust": 6,
    "University Hospitals of Leicester NHS Trust": 6,
    "Sandwell and West Birmingham Hospitals NHS Trust": 5,
    "Ashford and St Peters Hospitals NHS Foundation Trust": 4,
    "Somerset NHS Foundation Trust": 3,
    "Oxford University Hospitals NHS Foundation Trust": 5,
    "Sheffield Teaching Hospitals NHS Foundation Trust": 5,
    "Liverpool Heart and Chest Hospital NHS Foundation Trust": 1,
    "Hampshire Hospitals NHS Foundation Trust": 3,
    "Royal Surrey NHS Foundation Trust": 3,
    "The Walton Centre NHS Foundation Trust": 1,
    "Swansea Bay University Health Board": 2,
    "University Hospitals Plymouth NHS Trust": 2,
}
CHILDRENS_CENTRE = "Sheffield Childrens NHS Foundation Trust"
SATURATION_CENTRE = "Cambridge University Hospitals NHS Foundation Trust"

FIRST_DAY = date(2020, 2, 1)
LAST_DAY = date(2021, 12, 31)
LAST_RECORD = date(2022, 3, 31)

ETHNICITIES = (
    ["A"] * 9
    + ["White - British"] * 5
    + ["B", "C", "C2", "H", "Indian", "J", "K", "M", "N", "R", "S", "Any other ethnic group"]
    + ["Mixed white and asian", "99", "0", "Unknown", "Z", None]
)

# Numbers measured on admission: mean, standard deviation, decimals, unit sometimes written behind.
MEASUREMENTS: dict[str, tuple[float, float, int, str]] = {
    "Duration of symptoms": (7, 4, 0, "days"),
    "Respiratory rate on admission": (23, 5, 0, "bpm"),
    "Heart rate on admission": (92, 17, 0, "bpm"),
    "PaO2": (10.4, 2.6, 1, "kPa"),
    "Temperature on admission": (37.7, 0.9, 1, "C"),
    "NEWS2 score on arrival": (5, 3, 0, "(on arrival)"),
    "WCC on admission": (7.8, 3.2, 1, "x10^9/L"),
    "Lymphocyte count on admission": (1.0, 0.45, 2, "x10^9/L"),
    "Platelet count on admission": (224, 80, 0, "x10^9/L"),
    "CRP on admission": (96, 70, 1, "mg/L"),
    "D-dimer on admission": (0.9, 0.6, 2, "mg/L"),
    "Fibrinogen  if d-dimer not performed": (5.4, 1.5, 1, "g/L"),
    "Ferritin": (780, 520, 0, "ug/L"),
    "Urea on admission": (7.6, 4.2, 1, "mmol/L"),
    "Creatinine on admission": (96, 45, 0, "umol/L"),
    "Troponin I": (22, 18, 0, "ng/L"),
    "Troponin T": (19, 14, 0, "ng/L"),
}
# Measured at half of the admissions only; the others have no such key.
SELDOM = {"Fibrinogen  if d-dimer not performed", "Ferritin", "Troponin I", "Troponin T"}

# The spellings of one centre in five.
MISTYPED = {
    "PMH hypertension": "PMH h1pertension",
    "PMH diabetes mellitus type II": "PMH diabetes mellitus TYPE II",
    "Pack year history": "Pack year History",
    "PaO2": "Pa02",
    "ITU admission": "ITU admission ",
}
SEGMENTATION = ("CXR severity", "COVID CODE", "Final COVID Status")

Facts = list[tuple[date, str, object]]
"""What a record may say, with the day from which it can be known."""


@dataclass(frozen=True, slots=True)
class Person:
    """An invented patient; `onset` is the day of the swab or the admission."""

    patient_id: str
    centre: str
    sex: str
    age: float
    positive: bool
    onset: date


@dataclass(frozen=True, slots=True)
class Record:
    """One clinical file: its kind (data or status), its day and its fields."""

    kind: Literal["data", "status"]
    day: date
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class Habits:
    """How a centre fills in its records."""

    short_year: bool
    ward_prefix: bool
    mistyped: bool
    d_dimer_in_ug: bool


@functools.cache
def habits(centre: str) -> Habits:
    """Return how `centre` fills in its records: the same in every sample bucket."""
    rng = random.Random(f"habits of {centre}")
    return Habits(
        short_year=rng.random() < 0.4,
        ward_prefix=rng.random() < 0.3,
        mistyped=rng.random() < 0.2,
        d_dimer_in_ug=rng.random() < 0.7 and not centre.startswith("Imperial"),
    )


def invent_person(rng: random.Random, number: int) -> Person:
    """Draw patient `number`: centre, sex, age, covid status and the day it began."""
    centre = rng.choices(list(CENTRES), list(CENTRES.values()))[0]
    positive = rng.random() < 0.338
    if centre == CHILDRENS_CENTRE:
        age = round(rng.uniform(0.1, 16), 2)
    else:
        age = float(min(103, max(16, round(rng.gauss(67 if positive else 62, 17)))))
    return Person(
        patient_id=f"Covid{number}",
        centre=centre,
        sex="M" if rng.random() < (0.57 if positive else 0.5) else "F",
        age=age,
        positive=positive,
        onset=_onset(rng),
    )


def invent_records(rng: random.Random, person: Person) -> list[Record]:
    """Draw the clinical files of a patient, oldest first, one a day at most."""
    if not person.positive:
        return _status_records(rng, person, person.onset, rng.choices((1, 2, 3, 4), (80, 14, 5, 1))[0])
    records: list[Record] = []
    if rng.random() < 0.04:  # first known as negative
        records += _status_records(rng, person, person.onset - timedelta(days=rng.randint(6, 20)), 1)
    facts = _positive_facts(rng, person)
    day = person.onset + timedelta(days=rng.randint(2, 7))
    for _ in range(min(4 - len(records), rng.choices((1, 2, 3, 4), (40, 30, 20, 10))[0])):
        known = {key: value for known_on, key, value in facts if known_on <= day}
        records.append(Record("data", day, _as_sent(rng, person, known)))
        day += timedelta(days=rng.randint(3, 45))
    if len(records) < 4 and rng.random() < 0.02:  # a negative swab after recovery; it must not win
        records += _status_records(rng, person, day, 1)
    return [record for record in records if record.day <= LAST_RECORD]


def _onset(rng: random.Random) -> date:
    """Two waves, spring 2020 and winter 2020/21, over a low tide."""
    first, last = FIRST_DAY + timedelta(days=21), LAST_DAY - timedelta(days=11)
    while True:
        wave = rng.choices(("spring", "winter", "tide"), (35, 45, 20))[0]
        if wave == "tide":
            return first + timedelta(days=rng.randrange((last - first).days))
        peak, width = (date(2020, 4, 8), 18) if wave == "spring" else (date(2021, 1, 12), 30)
        onset = peak + timedelta(days=round(rng.gauss(0, width)))
        if first <= onset <= last:
            return onset


def _status_records(rng: random.Random, person: Person, day: date, count: int) -> list[Record]:
    """Records of negative swabs: one swab, or now and then the list of all so far."""
    records: list[Record] = []
    swabs: list[dict[str, object]] = []
    about = _demographics(rng, person) if rng.random() < 0.6 else {}
    for _ in range(count):
        if day > LAST_RECORD:
            break
        swab_day = day - timedelta(days=rng.randint(0, 5))
        swabs.append({"SwabDate": _uk(rng, swab_day), "SwabStatus": rng.choice((0, 0, 0, "0"))})
        fields: dict[str, object] = {"Pseudonym": person.patient_id, "SubmittingCentre": person.centre}
        if rng.random() < 0.08 or (len(swabs) > 1 and rng.random() < 0.4):
            fields["SwabDates"] = list(swabs)
        else:
            fields["SwabStatus"] = swabs[-1]["SwabStatus"]
            fields["SwabDate"] = swabs[-1]["SwabDate"]
        fields |= about
        records.append(Record("status", day, fields))
        day += timedelta(days=rng.randint(3, 45))
    return records


def _positive_facts(rng: random.Random, person: Person) -> Facts:
    """Everything the record of a positive patient will ever say, in the order of the schema."""
    onset, style = person.onset, habits(person.centre)
    admitted = onset + timedelta(days=rng.randint(-1, 2))
    admission = _us(rng, style, admitted)
    if style.ward_prefix and rng.random() < 0.7:
        admission = f"[Ward] - {admitted.isoformat()}"
    identity: dict[str, object] = {
        "Pseudonym": person.patient_id,
        "SubmittingCentre": person.centre,
        "Date of Positive Covid Swab": _us(rng, style, onset),
        "Date of acquisition of 1st RT-PCR": _us(rng, style, onset),
        "Date of result of 1st RT-PCR": _us(rng, style, onset + timedelta(days=1)),
        "Date of admission": admission,
        "Date of 1st CXR": _us(rng, style, admitted),
        "Hospital": rng.choice(("General Hospital", "GH", "Royal Infirmary", " ")),
    }
    known = identity | _demographics(rng, person) | _history(rng) | _arrival(rng, person)
    facts: Facts = [(date.min, key, value) for key, value in known.items()]
    return facts + _course(rng, person, style)


def _demographics(rng: random.Random, person: Person) -> dict[str, object]:
    """Age, sex and ethnic group in the spellings that occur."""
    age: object = int(person.age)
    roll = rng.random()
    if roll < 0.25:
        age = str(age)
    elif roll < 0.31:
        age = round(int(person.age) + 0.876, 3)
    elif roll < 0.33:
        age = rng.choice((" ", None, "unknown"))
    codes = ("F", "0") if person.sex == "F" else ("M", "1")
    sex = rng.choice(codes) if rng.random() < 0.96 else rng.choice((" ", "2", None, int(codes[1])))
    return {"Age": age, "Sex": sex, "Ethnicity": rng.choice(ETHNICITIES)}


def _history(rng: random.Random) -> dict[str, object]:
    """Past medical history and medicines."""
    has_ckd = rng.random() < 0.12
    smoking = rng.choices((0, 1, 2, 3), (45, 30, 8, 17))[0]
    return {
        "Smoking status": _spelt(rng, smoking),
        "Pack year history": rng.choice((" ", "20", 30, "10-15", "~40")) if smoking in (1, 2) else " ",
        "PMH hypertension": _flag(rng, 0.42, "1es"),
        "PMH CKD": _spelt(rng, 1) if has_ckd else _flag(rng, 0.0, "unknown"),
        "If CKD, stage": rng.choice(("3", 3, "3a", 4, "Stage 4", "5")) if has_ckd else " ",
        "PMH CVS disease": _spelt(rng, rng.choices((0, 1, 2, 3, 4), (70, 9, 6, 8, 7))[0]),
        "PMH Lung disease": rng.choices(("0", 0, "1", 2, 4, "5 bronchiectasis", "unknown"), (40, 24, 10, 2, 14, 4, 6))[
            0
        ],
        "PMH diabetes mellitus type II": _flag(rng, 0.24, "Yes"),
        "Current ACEi use": _flag(rng, 0.18, "1 ramipril"),
        "Current Angiotension receptor blocker use": _flag(rng, 0.1, "1 losartan"),
        "Current NSAID used": _flag(rng, 0.06, "3"),
    }


def _arrival(rng: random.Random, person: Person) -> dict[str, object]:
    """Observations and bloods on admission."""
    low, high = rng.randint(55, 95), rng.randint(100, 175)
    pressures: tuple[object, object] = (high, str(low))
    if rng.random() < 0.2:
        pressures = (f"[{high}/{low}] - {person.onset.isoformat()}",) * 2
    found: dict[str, object] = {
        "FiO2": rng.choices(
            ("21", 21, "0.21", "28%", "blue", "white", "10L", "15L", "4", "100", " ", "nil"),
            (30, 10, 10, 5, 3, 3, 5, 5, 8, 5, 12, 4),
        )[0],
        "Systolic BP": pressures[0],
        "Diastolic BP": pressures[1],
    }
    for key, (mean, spread, decimals, unit) in _measurements(person.centre).items():
        if key in SELDOM and rng.random() < 0.5:
            continue
        value = max(mean / 8, rng.gauss(mean, spread))
        found[key] = _noisy(rng, round(value, decimals or None), unit, person.onset)
    return found


def _measurements(centre: str) -> dict[str, tuple[float, float, int, str]]:
    """What is measured, in the units of the centre."""
    measurements = dict(MEASUREMENTS)
    if centre == SATURATION_CENTRE:
        measurements["PaO2"] = (94, 2, 0, "%")
    if habits(centre).d_dimer_in_ug:
        measurements["D-dimer on admission"] = (900, 600, 0, "ug/L")
    return measurements


def _course(rng: random.Random, person: Person, style: Habits) -> Facts:
    """What became of the patient: tests, films, intensive care, death. Later facts replace earlier ones."""
    start, onset = date.min, person.onset
    positive: object = rng.choice((1, "1", "1", "RNA DETECTED (SARS-CoV-2)"))
    severity = rng.choices((1, 2, 3), (40, 35, 25))[0]
    in_itu = rng.random() < 0.1 + 0.08 * severity - (0.1 if person.age > 80 else 0)
    dies = rng.random() < max(0.02, (person.age - 45) / 110) * (0.6 + 0.25 * severity)
    itu_day = onset + timedelta(days=rng.randint(0, 4))
    last_day = onset + timedelta(days=rng.randint(4, 35))
    alive_until = onset + timedelta(days=rng.randint(0, 2))
    facts: Facts = [
        (start, "1st RT-PCR result", positive),
        (start, "Final COVID Status", "1"),
        (start, "COVID CODE", rng.choice(("CVCX0", "CVCX1", "CVCX2", "1", 1, "2", "0", "3", " ", "Classic"))),
        (start, "CXR severity", rng.choice((severity, str(severity), str(severity), " "))),
        (start, "ITU admission", 0),
        (start, "Date of ITU admission", " "),
        (start, "Intubation", "0"),
        (start, "Death", rng.choice((0, "0"))),
        (start, "Date last known alive", _us(rng, style, alive_until)),
    ]
    again = onset + timedelta(days=rng.randint(2, 25))
    if again <= last_day and rng.random() < 0.6:
        facts += [
            (again, "Date of acquisition of 2nd RT-PCR", _us(rng, style, again)),
            (again, "Date of result of 2nd RT-PCR", _us(rng, style, again + timedelta(days=1))),
            (again, "2nd RT-PCR result", rng.choice((1, "1", "0", "0", "pending"))),
            (again, "Date of 2nd CXR", _us(rng, style, again)),
            (again, "CXR severity 3", rng.choice(("0", "1", "2", "3", " "))),
            (again, "COVID CODE 2", rng.choice(("0", "1", "CVCX1", "CVCX3", "N/A"))),
        ]
    if in_itu:
        facts += [
            (itu_day, "ITU admission", 1),
            (itu_day, "Date of ITU admission", _us(rng, style, itu_day)),
            (itu_day, "APACHE score on ITU arrival", _noisy(rng, rng.randint(6, 34), "pts", itu_day)),
        ]
        if rng.random() < 0.55:
            facts += [(itu_day, "Intubation", "1"), (itu_day, "Date of intubation", _us(rng, style, itu_day))]
    facts.append((last_day, "Date last known alive", _us(rng, style, last_day)))
    if dies:
        facts += [
            (last_day, "Death", rng.choice((1, "1"))),
            (last_day, "Date of death", _us(rng, style, last_day)),
        ]
    return facts


def _as_sent(rng: random.Random, person: Person, known: dict[str, object]) -> dict[str, object]:
    """The record as the centre sends it: its own spellings, some fields nested by the film readers."""
    if habits(person.centre).mistyped:
        known = {MISTYPED.get(key, key): value for key, value in known.items()}
    roll = rng.random()
    if roll < 0.02:
        nested = {key: known.pop(key) for key in SEGMENTATION}
        known["OtherDataSources"] = {"SegmentationData": nested}
    elif roll < 0.024:
        known["OtherDataSources"] = rng.choice((None, {"SegmentationData": None}))
    return known


def _us(rng: random.Random, style: Habits, day: date) -> object:
    """A date of a data record: month first, in the centre's way, seldom in another."""
    roll = rng.random()
    if roll < 0.04:
        return day.isoformat()
    if roll < 0.05:
        return f"{day.day:02}/{day.month:02}/{day.year}"
    if roll < 0.056:
        return (day - date(1899, 12, 30)).days  # a spreadsheet's day number
    if roll < 0.075:
        return rng.choice((" ", "", "n/a"))
    return f"{day.month:02}/{day.day:02}/{day.year % 100 if style.short_year else day.year}"


def _uk(rng: random.Random, day: date) -> object:
    """A date of a status record: day first."""
    roll = rng.random()
    if roll < 0.02:
        return day.isoformat()
    if roll < 0.03:
        return rng.choice(("", "pending"))
    return f"{day.day:02}/{day.month:02}/{day.year}"


def _spelt(rng: random.Random, code: int) -> object:
    """A code as a number, as text, or blank."""
    roll = rng.random()
    return code if roll < 0.45 else str(code) if roll < 0.95 else " "


def _flag(rng: random.Random, share: float, slip: str) -> object:
    """No, yes or unknown as a code; now and then the slip typical of the field."""
    if rng.random() < 0.015:
        return slip
    return _spelt(rng, 1 if rng.random() < share else rng.choices((0, 2), (88, 12))[0])


def _noisy(rng: random.Random, value: float, unit: str, day: date) -> object:
    """A measured number in the ways centres write it down."""
    roll = rng.random()
    if roll < 0.42:
        return value
    if roll < 0.84:
        return str(value)
    if roll < 0.89:
        return f"[{value}] - {day.isoformat()}"
    if roll < 0.92:
        return f"{value} {unit}".strip()
    if roll < 0.935 and unit.endswith("/L"):  # below what the laboratory can measure
        return f"<{value}"
    return rng.choice((" ", " ", "", None, "not done"))
