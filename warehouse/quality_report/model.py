"""The content of the quality report: dataclasses of counts and names, and their order.

No patient and no value of one is in here, so none can come onto the page. Counts say by their name what
they are numbers of (`n_patients`, `n_records`, …).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from warehouse.query import checks

#: What stands for a centre where there is none to name.
NOT_NAMED, NO_RECORD = "(centre not named)", "(no clinical record)"

#: The COVID-19 statuses of patients, in the order in which they are shown; none is that of who has no clinical record.
STATUSES = ("positive", "negative", "none")

#: Where the steps of values for 100 clinical files begin; under the first is step 0.
RATES = (1, 5, 20, 100)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the report is about."""

    lake: str
    sources: tuple[str, ...]
    group: str
    day: date | None
    snapshot: int
    published_at: datetime
    tool: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What the views show, and the inventory of the whole snapshot, which balances."""

    n_patients: int
    n_positive: int
    n_negative: int
    n_without_record: int
    n_studies: int
    n_undated_studies: int
    n_series: int
    n_images: int
    n_clinical_files: int
    n_rejects: int
    inventory: dict[str, int]


@dataclass(frozen=True, slots=True)
class Studies:
    """Studies of a month and modality; without a month those without a StudyDate."""

    month: date | None
    modality: str
    n_studies: int


@dataclass(frozen=True, slots=True)
class Patients:
    """Patients of a centre and COVID-19 status (positive, negative, none)."""

    centre: str
    status: str
    n_patients: int


@dataclass(frozen=True, slots=True)
class Filled:
    """How many of a centre's records, to which the column applies, have a value in it."""

    section: str
    column: str
    centre: str
    percent: int
    n_filled: int
    n_records: int


@dataclass(frozen=True, slots=True)
class Repairs:
    """The values of a centre that met a rule of cleaning; `step` is how many of RATES they reach for 100 files."""

    centre: str
    rule: str
    step: int
    n_values: int
    n_patients: int
    n_files: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of cleaning, and what met it."""

    rule: str
    effect: str
    meaning: str
    n_values: int
    n_patients: int
    n_centres: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A check, the number of its faulty rows, and whether there are any, which a rounded number does not say."""

    check: checks.Check
    n_rows: int
    has_rows: bool

    @property
    def is_failed(self) -> bool:
        """Whether it found more than what is to be looked at."""
        return self.has_rows and self.check.severity is not checks.Severity.WARNING


@dataclass(frozen=True, slots=True)
class Rejected:
    """Objects that could not be read for one reason."""

    kind: str
    reason: str
    n_objects: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All content of the report; lists are in the order in which they are shown.

    `modalities` and `centres` are the totals of studies and patients. Counts are rounded to `base`; 0: they are exact.
    """

    scope: Scope
    totals: Totals
    studies: list[Studies]
    modalities: dict[str, int]
    patients: list[Patients]
    centres: dict[str, int]
    completeness: list[Filled]
    repairs: list[Repairs]
    rules: list[Rule]
    checks: list[Checked]
    rejects: list[Rejected]
    base: int = 0


def to_percent(n_filled: int, n_records: int) -> int:
    """The share in whole per cent; 0 and 100 only where it is none and all."""
    if n_filled in (0, n_records):
        return 100 if n_filled else 0
    return min(99, max(1, round(100 * n_filled / n_records)))


def find_rate(n_values: int, n_files: int) -> int:
    """How many of RATES so many values of so many files reach."""
    return sum(100 * n_values >= bound * n_files for bound in RATES)


def order_by_name(name: str) -> tuple[bool, str, str]:
    """The order in which centres are listed: by name, those without one last."""
    return (name in (NOT_NAMED, NO_RECORD), name.casefold(), name)


def order_by_size(name: str, total: int) -> tuple[bool, bool, int, str, str]:
    """The order in which centres are listed by number: the largest first, those without one last."""
    return name in (NOT_NAMED, NO_RECORD), name == NO_RECORD, -total, name.casefold(), name
