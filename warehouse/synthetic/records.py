"""Invents the clinical files of a patient: their days, their keys, and their true content.

Belongs here: the files. Does not: what happened to the patient (clinical_course.py) and how a value is written.
"""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from warehouse.synthetic import codes
from warehouse.synthetic.clinical_course import invent_demographics, invent_positive_facts
from warehouse.synthetic.entries import Entry, RecordWriter, to_entry_known_on, write_blank, write_uk_date
from warehouse.synthetic.patients import LAST_RECORD, Person, invent_other_id

Sheet = dict[str, Entry]
Swabs = list[dict[str, Entry]]

# Keys as one centre in five mistypes them; the second film's severity is always under its mistyped key.
MISTYPED = {
    "PMH hypertension": "PMH h1pertension",
    "PMH diabetes mellitus type II": "PMH diabetes mellitus TYPE II",
    "Pack year history": "Pack year History",
    "PaO2": "Pa02",
    "ITU admission": "ITU admission ",
}
ALIASES = {alias: key for key, alias in MISTYPED.items()} | {"CXR severity 3": "CXR severity 2"}

# Two plain answers for keys that are sometimes sent in both spellings at once.
TWICE = {
    "PMH hypertension": (Entry("1", True), Entry("0", False)),
    "PMH diabetes mellitus type II": (Entry(0, False), Entry("1", True)),
    "Pack year history": (Entry("20", 20), Entry(25, 25)),
    "CXR severity 2": (Entry("2", 2), Entry("3", 3)),
}
SEGMENTATION = ("CXR severity", "COVID CODE", "Final COVID Status")
RETIRED = {
    "O2 saturation": ("96", 94),
    "Any supplemental oxygen: FiO2": ("28",),
    "PMH diabetes mellitus TYPE I": ("0", "Yes", 2),
}
NEW = {
    "Vaccination status": ("0", "1", "2"),
    "Variant": ("Alpha", "Delta"),
    "Sex ": ("F", "M"),  # with white space it is a different key
    "Clinical frailty scale": (3, "5", "Not scored"),
}
"""Keys that are not in any table."""


@dataclass(slots=True)
class Record:
    """A clinical file (kind, day, submitted fields) and its true values by column."""

    kind: Literal["data", "status"]
    day: date
    fields: dict[str, object]
    values: dict[str, object] = field(default_factory=lambda: {"ethnicity": codes.UNKNOWN})
    units: dict[str, str] = field(default_factory=dict)
    issues: list[tuple[str, str]] = field(default_factory=list)
    """Keys and rules of all issues that cleaning must report."""
    new_fields: list[str] = field(default_factory=list)


@functools.cache
def find_column(key: str) -> str:
    """The column under which the value of a key is published."""
    key = ALIASES.get(key, key)
    return _COLUMNS.get(key) or re.sub("[^a-z0-9]+", "_", key.lower()).strip("_")


_COLUMNS = {
    "PMH diabetes mellitus type II": "pmh_diabetes_mellitus_type_2",
    "1st RT-PCR result": "first_rt_pcr_result",
    "2nd RT-PCR result": "second_rt_pcr_result",
    "SwabStatus": "swab_status",
    "SubmittingCentre": "submitting_centre",
}


def invent_records(rng: random.Random, pen: RecordWriter, person: Person) -> list[Record]:
    """Draw the clinical files of a patient, oldest first, at most one per day."""
    if not person.positive:
        return _invent_status_records(rng, pen, person, person.onset, rng.choices((1, 2, 3, 4), (80, 14, 5, 1))[0])
    records: list[Record] = []
    if rng.random() < 0.04:  # first known as negative
        records += _invent_status_records(rng, pen, person, person.onset - timedelta(days=rng.randint(6, 20)), 1)
    facts = invent_positive_facts(rng, pen, person)
    more = _invent_oddities(pen)
    day = person.onset + timedelta(days=rng.randint(2, 7))
    for _ in range(min(4 - len(records), rng.choices((1, 2, 3, 4), (40, 30, 20, 10))[0])):
        known = _write_identity(pen, person) | {key: entry for known_on, key, entry in facts if known_on <= day}
        records.append(_build_data_record(pen, day, _choose_spelling(pen, known) | more))
        day += timedelta(days=rng.randint(3, 45))
    if len(records) < 4 and rng.random() < 0.02:  # a negative swab after recovery, which must not be in effect
        records += _invent_status_records(rng, pen, person, day, 1)
    return [record for record in records if record.day <= LAST_RECORD]


def _write_identity(pen: RecordWriter, person: Person) -> Sheet:
    """Write the patient and the centre, sometimes with errors in white space and letter case."""
    patient, centre = person.patient_id, person.centre
    if pen.slips(0.005):
        patient = invent_other_id(patient)
    if pen.slips(0.005):
        patient = f" {patient} "
    if pen.slips(0.03):
        centre = pen.rng.choice((f"{centre}  ", centre.replace(" ", "  ", 1), centre.upper()))
    return {"Pseudonym": Entry(patient, patient.strip()), "SubmittingCentre": Entry(centre, centre.strip())}


# ---- negative patients ----


def _invent_status_records(
    rng: random.Random, pen: RecordWriter, person: Person, day: date, count: int
) -> list[Record]:
    """Draw records of negative swabs: one swab, or sometimes the list of all so far."""
    records: list[Record] = []
    swabs: Swabs = []
    about = invent_demographics(rng, pen, person) if rng.random() < 0.6 else {}
    for number in range(1, count + 1):
        if day > LAST_RECORD:
            break
        # A status file means negative, although its newest swab may be positive.
        positive = number == count and pen.slips(0.02)
        taken = write_uk_date(pen, day - timedelta(days=rng.randint(0, 5)))
        swabs.append({"SwabDate": taken, "SwabStatus": codes.write_swab_result(pen, positive)})
        sheet = _write_identity(pen, person)
        record = Record("status", day, {})
        if rng.random() < 0.08 or (len(swabs) > 1 and rng.random() < 0.4):
            _add_list(pen, record, swabs)
        else:
            sheet |= swabs[-1]
        _add_fields(record, sheet | about)
        records.append(record)
        day += timedelta(days=rng.randint(3, 45))
    return records


def _add_list(pen: RecordWriter, record: Record, swabs: Swabs) -> None:
    """Add the list of swabs; some are not lists, and some lack a part of a swab."""
    if pen.slips(0.08):
        record.fields["SwabDates"] = "05/05/2020"
        record.issues.append(("SwabDates", "not_a_list"))
        return
    swabs = [] if pen.slips(0.01) else [dict(swab) for swab in swabs]
    for swab in swabs:
        if pen.slips(0.05):
            del swab[pen.rng.choice(("SwabDate", "SwabStatus"))]
    known = [{key: to_entry_known_on(entry, record.day) for key, entry in swab.items()} for swab in swabs]
    record.fields["SwabDates"] = [{key: entry.sent for key, entry in swab.items()} for swab in known]
    record.values["swabdates"] = [
        {find_column(key): swab.get(key, Entry(None)).clean for key in ("SwabDate", "SwabStatus")} for swab in known
    ]
    record.issues += [
        (f"SwabDates[{place}].{key}", rule)
        for place, swab in enumerate(known)
        for key, entry in swab.items()
        for rule in entry.rules
    ]


# ---- positive patients ----


def _invent_oddities(pen: RecordWriter) -> Sheet:
    """Add keys that a record should not have: retired and unknown ones."""
    found: Sheet = {}
    if pen.slips(0.04):
        key = pen.rng.choice(list(RETIRED))
        found[key] = Entry(pen.rng.choice(RETIRED[key]), None, ("retired_field",))
    if pen.slips(0.04):
        key = pen.rng.choice(list(NEW))
        found[key] = Entry(pen.rng.choice(NEW[key]), None, ("unknown_field",))
    return found


def _choose_spelling(pen: RecordWriter, known: Sheet) -> Sheet:
    """Spell the keys as the centre does, sometimes one of them in both spellings."""
    sheet = dict(known)
    severity = sheet.pop("CXR severity 2", None)
    if severity:
        sheet["CXR severity 2" if pen.slips(0.1) else "CXR severity 3"] = severity
    twice = pen.rng.choice(list(TWICE)) if pen.slips(0.05) else ""
    if pen.habits.mistyped:
        sheet = {MISTYPED.get(key, key): entry for key, entry in sheet.items()}
    if twice and find_column(twice) in map(find_column, sheet):
        sheet |= _write_both_spellings(pen, twice)
    return sheet


def _write_both_spellings(pen: RecordWriter, key: str) -> Sheet:
    """Write one field under both of its keys: the same answer, two answers, or the proper key blank."""
    alias = next(alias for alias, proper in ALIASES.items() if proper == key)
    one, other = TWICE[key]
    match pen.rng.choice(("conflict", "conflict", "same", "blank")):
        case "conflict":
            return {key: one, alias: other._replace(rules=("alias_conflict",))}
        case "same":
            return {key: one, alias: one}
    return {key: write_blank(pen), alias: other}


def _build_data_record(pen: RecordWriter, day: date, sheet: Sheet) -> Record:
    """Write a file of a positive patient; the film readers nest some fields."""
    record = Record("data", day, {})
    nested: Sheet = {}
    if pen.slips(0.05):
        nested = {key: sheet.pop(key) for key in SEGMENTATION}
        if pen.slips(0.5):
            other = Entry("1") if nested["CXR severity"].sent in (3, "3") else Entry("3")
            sheet["CXR severity"] = other._replace(rules=("overridden_by_segmentation",))
    elif pen.slips(0.006):
        record.fields["OtherDataSources"] = pen.rng.choice((None, {"SegmentationData": None}))
    _add_fields(record, sheet)
    if nested:
        record.fields["OtherDataSources"] = {"SegmentationData": {key: entry.sent for key, entry in nested.items()}}
        _note_truth(record, nested)
    return record


def _add_fields(record: Record, sheet: Sheet) -> None:
    """Add fields to a record, with their true values."""
    record.fields |= {key: entry.sent for key, entry in sheet.items()}
    _note_truth(record, sheet)


def _note_truth(record: Record, sheet: Sheet) -> None:
    """Record the true values of fields; a proper key precedes its other spelling."""
    for key in sorted(sheet, key=ALIASES.__contains__):
        entry = to_entry_known_on(sheet[key], record.day)
        record.issues += [(key, rule) for rule in entry.rules]
        if key in NEW:
            record.new_fields.append(key)
        elif entry.clean is not None:
            column = find_column(key)
            if column == "ethnicity":  # Unknown until it is known
                del record.values[column]
            record.values.setdefault(column, entry.clean)
            if entry.unit:
                record.units.setdefault(column, entry.unit)
