"""Writes numbers as centres do: plain or in brackets, with words, units, limits, ranges, or out of range."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from warehouse.synthetic import units
from warehouse.synthetic.entries import Entry, RecordWriter, Slips, write_blank, write_no_value


@dataclass(frozen=True, slots=True)
class Measure:
    """A number in records: its distribution, decimals, and the words that people write after it."""

    mean: float
    spread: float
    decimals: int = 0
    word: str = ""
    whole: bool = False
    """Whether cleaning rounds it."""
    top: float = 1e9
    beyond: tuple[object, ...] = ("-1", -2)
    """Entries outside the limits that cleaning applies."""
    unusual: tuple[int, ...] = ()
    """Valid numbers outside the range printed in the schema sheet."""
    text: tuple[str, ...] = ("not done", "n/a", "-", "?")
    several: tuple[str, ...] = ("1/3/20", "1/2")
    """Entries without a single number, in addition to ranges."""


MEASURES: dict[str, Measure] = {
    "Duration of symptoms": Measure(7, 4, word="days", whole=True, text=("unknown", "weeks")),
    "Respiratory rate on admission": Measure(23, 5, word="bpm", whole=True, text=("ventilated", "n/a")),
    "Heart rate on admission": Measure(92, 17, word="bpm", whole=True, text=("irregular", "not done")),
    "PaO2": Measure(10.4, 2.6, 1, text=("on air", "not done")),
    "Temperature on admission": Measure(
        37.7, 0.9, 1, word="C", top=45, beyond=(376, "96", "45.1", 0, "99.1"), text=("apyrexial", "n/a")
    ),
    "NEWS2 score on arrival": Measure(
        5,
        3,
        word="(on arrival)",
        whole=True,
        top=17,
        beyond=("25", 21),
        unusual=(18, 19, 20),
        text=("high", "not done"),
    ),
    "WCC on admission": Measure(7.8, 3.2, 1, "x10^9/L", text=("½", "not done")),
    "Lymphocyte count on admission": Measure(1.0, 0.45, 2, "x10^9/L", text=("low", "not done")),
    "Platelet count on admission": Measure(224, 80, word="x10^9/L", text=("clumped", "not done")),
    "CRP on admission": Measure(96, 70, 1, text=("haemolysed", "not done")),
    "D-dimer on admission": Measure(0.9, 0.6, 2, text=("raised", "not sent")),
    "Fibrinogen  if d-dimer not performed": Measure(5.4, 1.5, 1, beyond=("150", 101)),
    "Ferritin": Measure(780, 520),
    "Urea on admission": Measure(7.6, 4.2, 1, beyond=("101", 640)),
    "Creatinine on admission": Measure(96, 45, text=("AKI", "not done")),
    "Troponin I": Measure(22, 18, text=("not sent", "?")),
    "Troponin T": Measure(19, 14, beyond=("30000", 1)),
}
"""Measurements on admission, in the stored unit; PaO2 as a pressure."""

SELDOM = {"Fibrinogen  if d-dimer not performed", "Ferritin", "Troponin I", "Troponin T"}
"""Measured at only half of the admissions; the others do not have the key."""

APACHE = Measure(17, 6, word="pts", whole=True, top=71, beyond=("72", 140))
PACK_YEARS = Measure(24, 12, word="pack years", whole=True, text=("unknown", "Never smoked"))
_SATURATION = Measure(94, 2, top=100)


def write_measured(rng: random.Random, pen: RecordWriter, key: str, centre: str, day: date) -> Entry:
    """Write one of MEASURES as `centre` sends it, with its value in the stored unit."""
    deviation, measure = rng.gauss(0, 1), MEASURES[key]
    if key not in units.STORED:
        return write_number(pen, measure, _draw_number(measure, deviation), day)
    unit, spelt = units.find_stated_unit(key, centre), pen.slips(0.035)
    if spelt:
        unit = pen.rng.choice(units.list_explicit_units(key))
    elif key == "Troponin I" and centre == units.SHEFFIELD and pen.slips(0.6):
        unit = units.SHEFFIELD_TROPONIN_IN_NG_L
    value = _draw_number(_SATURATION if unit.written == "%" else measure, deviation)
    if unit is units.SHEFFIELD_TROPONIN_IN_NG_L:
        value = max(value, 12)  # less could be ng/mL, as the centre states
    sent = _scale(value, unit.factor)
    if unit is units.UNKNOWN and key == "D-dimer on admission" and pen.habits.d_dimer_in_ug:
        sent = _scale(value, 0.001)
    entry = _spell(pen, sent, unit.written or "") if spelt else write_number(pen, measure, sent, day)
    if not isinstance(entry.clean, int | float):
        return entry
    return entry._replace(clean=entry.clean * unit.factor, rules=entry.rules + unit.rules, unit=unit.stored)


def draw_number(rng: random.Random, measure: Measure) -> float:
    """Draw a value."""
    return _draw_number(measure, rng.gauss(0, 1))


def write_number(pen: RecordWriter, measure: Measure, value: float, day: date) -> Entry:
    """Write a number in the ways that centres do; `day` is written after a bracketed value."""

    def bracketed(_: RecordWriter, value: float) -> Entry:
        return Entry(f"[{value}] - {day.isoformat()}", value, ("value_from_brackets",))

    def bracketed_limit(pen: RecordWriter, value: float) -> Entry:
        sign = pen.rng.choice("<>")
        return Entry(f"[{sign}{value}] - {day.isoformat()}", value, ("value_from_brackets", "limit_reported"))

    def worded(pen: RecordWriter, value: float) -> Entry:
        return _spell(pen, value, measure.word)

    def beyond(pen: RecordWriter, _: float) -> Entry:
        return Entry(pen.rng.choice(measure.beyond), None, ("out_of_range",))

    def text(pen: RecordWriter, _: float) -> Entry:
        return Entry(pen.rng.choice(measure.text), None, ("not_a_number",))

    def several(pen: RecordWriter, value: float) -> Entry:
        ways = (f"{value}-{value + 2}", f"{value} - {value + 5}", *measure.several)
        return Entry(pen.rng.choice(ways), None, ("single_value_missing",))

    def unusual(pen: RecordWriter, value: float) -> Entry:
        if not measure.unusual:
            return _write_plain(pen, value)
        found = pen.rng.choice(measure.unusual)
        return Entry(found, found, ("outside_printed_range",))

    own: Slips[float] = (
        (0.05, bracketed),
        (0.004, bracketed_limit),
        (0.03 if measure.word else 0, worded),
        (0.006, beyond),
        (0.02, text),
        (0.008, several),
        (0.02 if measure.unusual else 0, unusual),
        (0.01 if measure.whole else 0, _write_decimal),
        *_SLIPS,
    )
    return pen.write(value, _write_plain, own)


def _draw_number(measure: Measure, deviation: float) -> float:
    value = max(measure.mean / 8, measure.mean + deviation * measure.spread)
    return min(measure.top, round(value, measure.decimals or None))


def _scale(value: float, factor: float) -> float:
    """Write the number as submitted; `value` is in the stored unit."""
    return value if factor == 1 else round(value / factor) if factor < 1 else round(value / factor, 3)


def _write_plain(pen: RecordWriter, value: float) -> Entry:
    roll = pen.rng.random()
    return Entry(value if roll < 0.45 else str(value) if roll < 0.98 else f" {value} ", value)


def _spell(_: RecordWriter, value: float, word: str) -> Entry:
    return Entry(f"{value}{'' if word == '%' else ' '}{word}", value, ("number_from_text",))


def _write_limit(pen: RecordWriter, value: float) -> Entry:
    return Entry(f"{pen.rng.choice('<<>~')}{value}", value, ("limit_reported",))


def _write_decimal(pen: RecordWriter, value: float) -> Entry:
    """Write a whole number with decimals, significant or zero."""
    if pen.rng.random() < 0.5:
        return Entry(f"{value}.0", value)
    return Entry(f"{value}.4", value, ("rounded",))


_SLIPS: tuple[tuple[float, Callable[[RecordWriter, float], Entry]], ...] = (
    (0.015, _write_limit),
    (0.05, write_blank),
    (0.0015, write_no_value),
)


# ---- numbers with special forms ----


def write_age(pen: RecordWriter, years: int) -> Entry:
    """Write the age in years; the schema sheet prints 13 to 103."""
    printed = () if 13 <= years <= 103 else ("outside_printed_range",)

    def fraction(_: RecordWriter, years: int) -> Entry:
        older = () if 13 <= years + 1 <= 103 else ("outside_printed_range",)
        return Entry(pen.rng.choice((f"{years}.876", years + 0.876)), years + 1, ("rounded", *older))

    def plain(pen: RecordWriter, years: int) -> Entry:
        return Entry(years if pen.rng.random() < 0.75 else str(years), years, printed)

    slips: Slips[int] = (
        (0.06, fraction),
        (0.012, write_blank),
        (0.008, lambda *_: Entry("unknown", None, ("not_a_number",))),
        (0.006, lambda pen, _: Entry(pen.rng.choice(("150", -5, "-5", 999)), None, ("out_of_range",))),
    )
    return pen.write(years, plain, slips)


def write_fio2(rng: random.Random, pen: RecordWriter) -> Entry:
    """Write FiO2: centres mix litres, mask colours, fractions and percentages."""
    percent = rng.choice((21, 21, 21, 24, 28, 35, 40, 60))
    if pen.tidy or pen.rng.random() < 0.45:
        return Entry(pen.rng.choice((percent, str(percent))), percent)
    return pen.rng.choice(_OXYGEN)


_LITRES, _MASK, _FRACTION = ("fio2_litres",), ("fio2_mask",), ("fio2_fraction",)
_OXYGEN = (
    Entry("28%", 28),
    Entry("35 %", 35),
    Entry("40 venturi", 40, ("number_from_text",)),
    Entry("28.0", 28),
    Entry("0.21", 21, _FRACTION),
    Entry(0.28, 28, _FRACTION),
    Entry("0.6", 60, _FRACTION),
    Entry("1.0", 100, _FRACTION),
    Entry("2", 29, _LITRES),
    Entry(4, 37, _LITRES),
    Entry("7", 41, _LITRES),
    Entry("10L", 60, _LITRES),
    Entry("15 L/min", 100, _LITRES),
    Entry("15L non-rebreathe", 100, _LITRES),
    Entry("blue", 24, _MASK),
    Entry("White", 28, _MASK),
    Entry("green", 60, _MASK),
    Entry(" "),
    Entry(None),
    Entry("nil", None, ("not_a_number",)),
    Entry("room air", None, ("not_a_number",)),
    Entry("2.5L", None, ("fio2_not_listed",)),
    Entry("16L", None, ("fio2_not_listed",)),
    Entry("2-4L", None, ("single_value_missing",)),
    Entry("120", None, ("out_of_range",)),
)


def write_blood_pressure(rng: random.Random, pen: RecordWriter, day: date) -> tuple[Entry, Entry]:
    """Write systolic and diastolic pressure: two numbers, or sometimes the pair in both fields."""
    low, high = rng.randint(55, 95), rng.randint(100, 175)
    pair = ("value_from_pair",)
    if pen.slips(0.15):
        text = f"[{high}/{low}] - {day.isoformat()}"
        rules = (*pair, "value_from_brackets")
        return Entry(text, high, rules), Entry(text, low, rules)
    if pen.slips(0.05):
        return Entry(f"{high}/{low}", high, pair), Entry(f"{high}/{low}", low, pair)
    return write_number(pen, _PRESSURE, high, day), write_number(pen, _PRESSURE, low, day)


_PRESSURE = Measure(0, 0, word="mmHg", text=("unrecordable", "low"), several=("1/3/20",))
