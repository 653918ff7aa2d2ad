"""Invents patients: their demographics, their centre, and how that centre writes records."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from datetime import date, timedelta

# Centres with their shares of patients. The first six are those with known units.
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

FIRST_DAY = date(2020, 2, 1)
LAST_DAY = date(2021, 12, 31)
LAST_RECORD = date(2022, 3, 31)


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
class Habits:
    """How a centre writes its records."""

    short_year: bool
    bare_day: bool
    ward_prefix: bool
    mistyped: bool
    d_dimer_in_ug: bool


@functools.cache
def choose_habits(centre: str) -> Habits:
    """Return how `centre` writes its records: the same in every synthetic bucket."""
    rng = random.Random(f"habits of {centre}")
    return Habits(
        short_year=rng.random() < 0.4,
        ward_prefix=rng.random() < 0.3,
        mistyped=rng.random() < 0.2,
        d_dimer_in_ug=rng.random() < 0.7,
        bare_day=rng.random() < 0.25,
    )


def invent_person(rng: random.Random, number: int) -> Person:
    """Draw patient `number`: centre, sex, age, covid status and the day it began."""
    centre = rng.choices(list(CENTRES), list(CENTRES.values()))[0]
    positive = rng.random() < 0.338
    if centre == CHILDRENS_CENTRE:
        age = round(rng.uniform(0.1, 16), 2)
    elif rng.random() < 0.012:  # born in hospital
        age = round(rng.uniform(0.01, 0.4), 2)
    else:
        age = float(min(103, max(16, round(rng.gauss(67 if positive else 62, 17)))))
    return Person(
        patient_id=f"Covid{number}",
        centre=centre,
        sex="M" if rng.random() < (0.57 if positive else 0.5) else "F",
        age=age,
        positive=positive,
        onset=_draw_onset(rng),
    )


def invent_other_id(patient_id: str) -> str:
    """The pseudonym of another patient."""
    number = int(patient_id.removeprefix("Covid"))
    return f"Covid{number - 1 or 2}"


def _draw_onset(rng: random.Random) -> date:
    """Draw a day from two waves, spring 2020 and winter 2020/21, over a low baseline."""
    first, last = FIRST_DAY + timedelta(days=21), LAST_DAY - timedelta(days=11)
    while True:
        wave = rng.choices(("spring", "winter", "tide"), (35, 45, 20))[0]
        if wave == "tide":
            return first + timedelta(days=rng.randrange((last - first).days))
        peak, width = (date(2020, 4, 8), 18) if wave == "spring" else (date(2021, 1, 12), 30)
        onset = peak + timedelta(days=round(rng.gauss(0, width)))
        if first <= onset <= last:
            return onset
