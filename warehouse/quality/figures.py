"""What the quality report says: dataclasses of counts and names, and how they are put.

No patient and no value of one is in here, so none can come onto the page. Counts say by their name what
they are numbers of (`n_patients`, `n_records`, …); None is a number that `hiding` took away.
"""

from dataclasses import dataclass
from datetime import date, datetime

from warehouse import checks

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

    n_patients: int | None
    n_positive: int | None
    n_negative: int | None
    n_without_record: int | None
    n_studies: int | None
    n_undated_studies: int | None
    n_series: int | None
    n_images: int | None
    n_clinical_files: int | None
    n_rejects: int
    inventory: dict[str, int]


@dataclass(frozen=True, slots=True)
class Studies:
    """Studies of a month and modality; without a month those without a StudyDate."""

    month: date | None
    modality: str
    n_studies: int | None


@dataclass(frozen=True, slots=True)
class Patients:
    """Patients of a centre and COVID-19 status (positive, negative, none)."""

    centre: str
    status: str
    n_patients: int | None


@dataclass(frozen=True, slots=True)
class Filled:
    """How many of a centre's records, to which the column applies, have a value in it; per cent may be known alone."""

    section: str
    column: str
    centre: str
    percent: int | None
    n_filled: int | None
    n_records: int | None


@dataclass(frozen=True, slots=True)
class Repairs:
    """The values of a centre that met a rule of cleaning; how many they are for 100 files may be known alone.

    Of that there is the step alone: how many of RATES it reaches.
    """

    centre: str
    rule: str
    step: int | None
    n_values: int | None
    n_patients: int | None
    n_files: int | None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of cleaning, and what met it."""

    rule: str
    effect: str
    meaning: str
    n_values: int | None
    n_patients: int | None
    n_centres: int | None


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and the number of its faulty rows; of a number that is hidden it may be said that it is small."""

    check: checks.Check
    n_rows: int | None
    is_small: bool = False

    @property
    def has_rows(self) -> bool:
        """Whether it found anything; a number that is hidden is none of 0."""
        return self.n_rows != 0

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
    """All that the report says; lists are in the order in which they are shown.

    `modalities` and `centres` are the totals of studies and patients. Counts from 1 to `least` - 1 are hidden.
    """

    scope: Scope
    totals: Totals
    studies: list[Studies]
    modalities: dict[str, int | None]
    patients: list[Patients]
    centres: dict[str, int | None]
    completeness: list[Filled]
    repairs: list[Repairs]
    rules: list[Rule]
    checks: list[Checked]
    rejects: list[Rejected]
    least: int = 0


def percent(n_filled: int, n_records: int, step: int = 1) -> int:
    """The share in per cent, rounded to whole steps; 0 and 100 only where it is none and all."""
    if n_filled in (0, n_records):
        return 100 if n_filled else 0
    return min(100 - step, max(step, step * round(100 * n_filled / n_records / step)))


def centre_order(name: str) -> tuple[bool, str, str]:
    """The order in which centres are listed: by name, those without one last."""
    return (name in (NOT_NAMED, NO_RECORD), name.casefold(), name)


def largest_first(name: str, total: int | None) -> tuple[bool, bool, bool, int, str, str]:
    """The order in which centres are listed by number: the largest first, hidden numbers after them, no centre last."""
    return name in (NOT_NAMED, NO_RECORD), name == NO_RECORD, total is None, -(total or 0), name.casefold(), name
