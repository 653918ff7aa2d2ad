"""The units of each centre according to the sheet of site-specific units; other centres state none.

Declared separately from sql/cleaning/site_units.csv, so that a synthetic bucket tests that table too.
"""

from __future__ import annotations

from typing import NamedTuple

IMPERIAL = "Imperial College Healthcare NHS Trust"
CAMBRIDGE = "Cambridge University Hospitals NHS Foundation Trust"
CORNWALL = "Royal Cornwall Hospitals NHS Trust"
SUFFOLK = "West Suffolk NHS Foundation Trust"
SHEFFIELD = "Sheffield Childrens NHS Foundation Trust"
NORFOLK = "Norfolk and Norwich University Hospitals NHS Foundation Trust"
KNOWN = (IMPERIAL, CAMBRIDGE, CORNWALL, SUFFOLK, SHEFFIELD, NORFOLK)


class Stated(NamedTuple):
    """The unit that a centre states, the factor to the stored unit, and the expected rules."""

    written: str | None
    """The unit as the centre writes it; None if it states none."""
    factor: float = 1
    stored: str | None = None
    """The unit of the clean value; None if it is unknown."""
    rules: tuple[str, ...] = ()


STORED = {
    "PaO2": "%",
    "CRP on admission": "mg/L",
    "D-dimer on admission": "mg/L",
    "Fibrinogen  if d-dimer not performed": "g/L",
    "Ferritin": "ng/mL",
    "Urea on admission": "mmol/L",
    "Creatinine on admission": "umol/L",
    "Troponin I": "ng/L",
    "Troponin T": "ng/L",
}
"""The measurements whose unit depends on the centre, with the stored unit."""

UNKNOWN = Stated(None, rules=("unit_unknown",))
_KPA = Stated(
    "kPa", stored="kPa", rules=("unit_not_convertible",)
)  # a pressure is not a saturation, and is never converted
_NG_ML = Stated("ng/mL", 0.001, "mg/L", ("unit_converted",))
_UG_L = Stated("ug/L", 0.001, "mg/L", ("unit_converted",))
_SEVERAL = {
    "PaO2": {CAMBRIDGE: Stated("%", stored="%")}
    | dict.fromkeys((IMPERIAL, CORNWALL, SUFFOLK, SHEFFIELD, NORFOLK), _KPA),
    "D-dimer on admission": {IMPERIAL: Stated("mg/L", stored="mg/L"), NORFOLK: _UG_L}
    | dict.fromkeys((CAMBRIDGE, CORNWALL, SUFFOLK, SHEFFIELD), _NG_ML),
    "Ferritin": dict.fromkeys(KNOWN, Stated("ug/L", stored="ng/mL")),  # of the same size
    # The values have the magnitude of mmol/L nevertheless.
    "Urea on admission": {IMPERIAL: Stated("ng/mL", stored="ng/mL", rules=("unit_implausible",))},
    "Troponin I": {SUFFOLK: UNKNOWN, SHEFFIELD: Stated("ng/mL", 1000, "ng/L", ("unit_converted",))},
    "Troponin T": dict.fromkeys((IMPERIAL, CAMBRIDGE, CORNWALL, NORFOLK), UNKNOWN),
}

SHEFFIELD_TROPONIN_IN_NG_L = Stated(None, rules=("unit_implausible",))
"""The expectation if Sheffield sends troponin I of the magnitude of ng/L, although it states ng/mL."""


def find_stated_unit(key: str, centre: str) -> Stated:
    """The statement of `centre` about the numbers under `key`, one of STORED."""
    if centre not in KNOWN:
        return UNKNOWN
    return _SEVERAL.get(key, {}).get(centre) or Stated(STORED[key], stored=STORED[key])


def list_explicit_units(key: str) -> tuple[Stated, ...]:
    """The units that people write after such a number, regardless of what their centre states."""
    if key == "PaO2":
        return (_KPA, Stated("%", stored="%"))
    if key == "D-dimer on admission":
        return (Stated("mg/L", stored="mg/L"), _UG_L, _NG_ML)
    return (Stated("ug/L" if key == "Ferritin" else STORED[key], stored=STORED[key]),)
