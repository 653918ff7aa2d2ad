"""Invents the facts of a clinical record: demographics, history, admission and outcome."""

from __future__ import annotations

import random
from datetime import date, timedelta

from warehouse.synthetic import codes, numbers
from warehouse.synthetic.entries import Entry, RecordWriter, write_date_on_ward, write_us_date
from warehouse.synthetic.patients import Person

Facts = list[tuple[date, str, Entry]]
"""Facts of a record, with the day from which each can be known."""


def invent_demographics(rng: random.Random, pen: RecordWriter, person: Person) -> dict[str, Entry]:
    """Age, sex and ethnic group."""
    group = rng.choices(list(codes.GROUPS), list(codes.GROUPS.values()))[0]
    return {
        "Age": numbers.write_age(pen, int(person.age)),
        "Sex": codes.write_sex(pen, person.sex),
        "Ethnicity": codes.write_ethnicity(pen, group),
    }


def invent_positive_facts(rng: random.Random, pen: RecordWriter, person: Person) -> Facts:
    """All facts that the record of a positive patient will ever have, in the order of the schema."""
    onset = person.onset
    admitted = onset + timedelta(days=rng.randint(-1, 2))
    on_ward = write_date_on_ward if pen.habits.ward_prefix and pen.slips(0.7) else write_us_date
    hospital = rng.choice(("General Hospital", "GH", "Royal Infirmary", " "))
    known = {
        "Date of Positive Covid Swab": write_us_date(pen, onset),
        "Date of acquisition of 1st RT-PCR": write_us_date(pen, onset),
        "Date of result of 1st RT-PCR": write_us_date(pen, onset + timedelta(days=1)),
        "Date of admission": on_ward(pen, admitted),
        "Date of 1st CXR": write_us_date(pen, admitted),
        "Hospital": Entry(hospital, hospital.strip() or None),
    }
    known |= invent_demographics(rng, pen, person) | _invent_history(rng, pen) | _invent_arrival(rng, pen, person)
    facts: Facts = [(date.min, key, entry) for key, entry in known.items()]
    return facts + _invent_course(rng, pen, person, admitted)


def _invent_history(rng: random.Random, pen: RecordWriter) -> dict[str, Entry]:
    """Past medical history and medicines."""
    has_ckd = rng.random() < 0.12
    smoking = rng.choices((0, 1, 2, 3), (45, 30, 8, 17))[0]
    pack_years = numbers.draw_number(rng, numbers.PACK_YEARS)
    return {
        "Smoking status": codes.write_code(pen, smoking, *codes.SMOKING, unknown=3),
        "Pack year history": numbers.write_number(pen, numbers.PACK_YEARS, pack_years, date(2020, 4, 1))
        if smoking in (1, 2)
        else Entry(" "),
        "PMH hypertension": codes.write_flag(pen, _draw_answer(rng, 0.42), *codes.HYPERTENSION),
        "PMH CKD": codes.write_flag(pen, has_ckd, *codes.CKD),
        "If CKD, stage": codes.write_code(pen, rng.choice((3, 3, 4, 5)), *codes.STAGE, share=0.2)
        if has_ckd
        else Entry(" "),
        "PMH CVS disease": codes.write_code(pen, rng.choices((0, 1, 2, 3, 4), (70, 9, 6, 8, 7))[0], *codes.CVS),
        "PMH Lung disease": codes.write_code(
            pen, rng.choices((0, 1, 2, 3, 4, 5, 6), (64, 10, 2, 1, 14, 4, 5))[0], *codes.LUNG, share=0.08, unknown=6
        ),
        "PMH diabetes mellitus type II": codes.write_flag(pen, _draw_answer(rng, 0.24), *codes.DIABETES),
        "Current ACEi use": codes.write_flag(pen, _draw_answer(rng, 0.18), *codes.list_mixed_slips("ramipril")),
        "Current Angiotension receptor blocker use": codes.write_flag(
            pen, _draw_answer(rng, 0.1), *codes.list_mixed_slips("losartan")
        ),
        "Current NSAID used": codes.write_flag(pen, _draw_answer(rng, 0.06), *codes.list_mixed_slips("ibuprofen")),
    }


def _draw_answer(rng: random.Random, share: float) -> bool | None:
    """Draw yes for a share of the patients, no for most others, and unknown (None) for the rest."""
    return True if rng.random() < share else rng.choices((False, None), (88, 12))[0]


def _invent_arrival(rng: random.Random, pen: RecordWriter, person: Person) -> dict[str, Entry]:
    """Observations and bloods on admission."""
    systolic, diastolic = numbers.write_blood_pressure(rng, pen, person.onset)
    found = {"FiO2": numbers.write_fio2(rng, pen), "Systolic BP": systolic, "Diastolic BP": diastolic}
    for key in numbers.MEASURES:
        if key in numbers.SELDOM and rng.random() < 0.5:
            continue
        found[key] = numbers.write_measured(rng, pen, key, person.centre, person.onset)
    return found


def _invent_course(rng: random.Random, pen: RecordWriter, person: Person, admitted: date) -> Facts:
    """The outcome of the patient: tests, films, intensive care, death. Later facts replace earlier ones."""
    start, onset = date.min, person.onset
    severity = rng.choices((1, 2, 3), (40, 35, 25))[0]
    report = rng.choices((0, 1, 2, 3), (12, 55, 20, 13))[0]
    in_itu = rng.random() < 0.1 + 0.08 * severity - (0.1 if person.age > 80 else 0)
    dies = rng.random() < max(0.02, (person.age - 45) / 110) * (0.6 + 0.25 * severity)
    itu_day = onset + timedelta(days=rng.randint(0, 4))
    last_day = onset + timedelta(days=rng.randint(4, 35))
    alive_until = onset + timedelta(days=rng.randint(0, 2))
    tube_elsewhere = not in_itu and pen.slips(0.03)
    facts: Facts = [
        (start, "1st RT-PCR result", codes.write_result(pen, True)),
        (start, "Final COVID Status", codes.write_result(pen, True)),
        (start, "COVID CODE", codes.write_report_code(pen, report)),
        (start, "CXR severity", codes.write_code(pen, severity, *codes.SEVERITY)),
        # Intubated patients have an explicit answer, so that a record without intensive care states that.
        (start, "ITU admission", Entry(0, False) if in_itu or tube_elsewhere else _write_outcome(pen, False)),
        (start, "Date of ITU admission", Entry(" ")),
        (start, "Intubation", _write_outcome(pen, False)),
        (start, "Death", _write_outcome(pen, False)),
        (start, "Date last known alive", write_us_date(pen, alive_until)),
    ]
    again = onset + timedelta(days=rng.randint(2, 25))
    if again <= last_day and rng.random() < 0.6:
        facts += _invent_second_film(rng, pen, again)
    if in_itu:
        score = numbers.write_number(pen, numbers.APACHE, numbers.draw_number(rng, numbers.APACHE), itu_day)
        facts += [
            (itu_day, "ITU admission", Entry(1, True)),
            (itu_day, "Date of ITU admission", write_us_date(pen, itu_day)),
            (itu_day, "APACHE score on ITU arrival", score),
        ]
    if tube_elsewhere or (in_itu and rng.random() < 0.55):
        facts += [
            (itu_day, "Intubation", Entry("1", True)),
            (itu_day, "Date of intubation", write_us_date(pen, itu_day)),
        ]
    facts.append((last_day, "Date last known alive", write_us_date(pen, last_day)))
    if dies:
        died = admitted - timedelta(days=pen.rng.randint(1, 9)) if pen.slips(0.12) else last_day
        facts += [(last_day, "Death", _write_outcome(pen, True)), (last_day, "Date of death", write_us_date(pen, died))]
    return facts


def _invent_second_film(rng: random.Random, pen: RecordWriter, day: date) -> Facts:
    """The second test and the second film."""
    found = {
        "Date of acquisition of 2nd RT-PCR": write_us_date(pen, day),
        "Date of result of 2nd RT-PCR": write_us_date(pen, day + timedelta(days=1)),
        "2nd RT-PCR result": codes.write_result(pen, rng.random() < 0.45),
        "Date of 2nd CXR": write_us_date(pen, day),
        "CXR severity 2": codes.write_code(pen, rng.choice((1, 2, 3)), *codes.SEVERITY, share=0.15),
        "COVID CODE 2": codes.write_report_code(pen, rng.randrange(4)),
    }
    return [(day, key, entry) for key, entry in found.items()]


def _write_outcome(pen: RecordWriter, answer: bool) -> Entry:
    """Whether a value is yes or no; text and other numbers are not an answer."""
    return codes.write_flag(pen, answer, *codes.OUTCOME, share=0.01)
