"""The content of the quality report: dataclasses of counts and names, and their order.

It has no patients and no individual values, so none can reach the page. The names of counts state what they count
(`n_patients`, `n_records`, …).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from warehouse.query import checks

#: The name shown for a missing centre.
NOT_NAMED, NO_RECORD = "(centre not named)", "(no clinical record)"

#: The modality of studies whose images have none.
NO_MODALITY = "none"

#: The COVID-19 statuses of patients, in display order; none is that of patients without a clinical record.
STATUSES = ("positive", "negative", "none")

#: The lower bounds of the steps of values per 100 clinical files; step 0 is below the first.
RATES = (1, 5, 20, 100)


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of the report."""

    lake: str
    sources: tuple[str, ...]
    group: str
    day: date | None
    snapshot: int
    published_at: datetime
    tool: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of the views, and the inventory of the whole snapshot, which balances; `most_objects` is how many objects
    the patient with most has in it."""

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
    most_objects: int = 0


@dataclass(frozen=True, slots=True)
class Studies:
    """Studies of a month and modality; without a month, those without a StudyDate."""

    month: date | None
    modality: str
    n_studies: int


@dataclass(frozen=True, slots=True)
class Imaged:
    """Patients of a month by all modalities of their studies in it (NO_MODALITY is one): each patient counts once."""

    month: date | None
    modalities: tuple[str, ...]
    n_patients: int


@dataclass(frozen=True, slots=True)
class Patients:
    """Patients of a centre and COVID-19 status (positive, negative, none)."""

    centre: str
    status: str
    n_patients: int


@dataclass(frozen=True, slots=True)
class Filled:
    """How many of a centre's records have a value in a column, of those to which it applies."""

    section: str
    column: str
    centre: str
    percent: int
    n_filled: int
    n_records: int


@dataclass(frozen=True, slots=True)
class Repairs:
    """The values of a centre that met a cleaning rule; `step` is how many of RATES they reach per 100 files."""

    centre: str
    rule: str
    step: int
    n_values: int
    n_patients: int
    n_files: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A cleaning rule, and the counts of what met it."""

    rule: str
    effect: str
    meaning: str
    n_values: int
    n_patients: int
    n_centres: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A check, its number of faulty rows, whether there are any, which a rounded number does not show, and of how many
    patients they are; None if they name no patients."""

    check: checks.Check
    n_rows: int
    has_rows: bool
    n_patients: int | None = None

    @property
    def is_failed(self) -> bool:
        """Whether it failed, rather than having warnings."""
        return self.has_rows and self.check.severity is not checks.Severity.WARNING


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rejects with the same reason."""

    kind: str
    reason: str
    n_objects: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All content of the report; lists are in display order.

    `modalities` and `centres` are the totals of studies and patients. Counts are rounded to `base`; 0: they are exact.
    Rounded, numbers of studies by month and of repaired values are numbers of patients, and all numbers of objects are
    multiples of `unit`.
    """

    scope: Scope
    totals: Totals
    studies: list[Studies]
    imaged: list[Imaged]
    modalities: dict[str, int]
    patients: list[Patients]
    centres: dict[str, int]
    completeness: list[Filled]
    repairs: list[Repairs]
    rules: list[Rule]
    checks: list[Checked]
    rejects: list[Rejected]
    base: int = 0
    unit: int = 0


def to_percent(n_filled: int, n_records: int) -> int:
    """The share in whole per cent; 0 and 100 only for exactly none and all."""
    if n_filled in (0, n_records):
        return 100 if n_filled else 0
    return min(99, max(1, round(100 * n_filled / n_records)))


def find_rate(n_values: int, n_files: int) -> int:
    """How many of RATES the number of values per 100 files reaches."""
    return sum(100 * n_values >= bound * n_files for bound in RATES)


def order_by_name(name: str) -> tuple[bool, str, str]:
    """Sort key of centres: by name, missing ones last."""
    return (name in (NOT_NAMED, NO_RECORD), name.casefold(), name)


def order_by_size(name: str, total: int) -> tuple[bool, bool, int, str, str]:
    """Sort key of centres by count: largest first, missing ones last."""
    return name in (NOT_NAMED, NO_RECORD), name == NO_RECORD, -total, name.casefold(), name
