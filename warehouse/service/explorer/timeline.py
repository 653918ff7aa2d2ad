"""The history of one patient: what happened, when it became known, and what changed; as of any of its days."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.query.patient import find_patient

if TYPE_CHECKING:
    from warehouse.api import Warehouse

#: The facts of view `patients` that the page shows, with the words before them.
FACTS = {
    "covid_status": "COVID-19 status",
    "centre": "Centre",
    "age": "Age",
    "sex": "Sex",
    "date_of_positive_covid_swab": "Positive swab",
    "date_of_admission": "Admission",
    "itu_admission": "Intensive care",
    "intubation": "Intubation",
    "death": "Death",
}
#: Events, changes and series that a page shows.
MOST = 500


@dataclass(frozen=True, slots=True)
class Event:
    """A study, or a clinical file; `is_new` if it became known on the day that is shown."""

    kind: str
    day: date | None
    available: date
    what: str
    detail: str
    n_images: int
    id: str
    is_new: bool

    @property
    def lane(self) -> str:
        """The row of the chart."""
        return "Records" if self.kind == "record" else self.what or "Other"

    def describe(self) -> str:
        """The event in one line."""
        head = f"{self.what} record" if self.kind == "record" else f"{self.what}, {self.n_images:,} images"
        when = f"{self.day}, available {self.available}" if self.day else f"no date, available {self.available}"
        return f"{head}; {when}"


@dataclass(frozen=True, slots=True)
class Series:
    """A series, and the image in its middle."""

    study: str
    series: str
    image: str
    modality: str
    description: str
    n_images: int


@dataclass(frozen=True, slots=True)
class History:
    """A patient as known on a day."""

    patient_id: str
    day: date
    facts: dict[str, Any]
    events: list[Event]
    changes: list[dict[str, Any]]
    series: dict[str, list[Series]] = field(default_factory=dict)


def list_days(warehouse: Warehouse, patient_id: str) -> list[date]:
    """The days on which something about a patient became available; NotFoundError if the session does not show them."""
    find_patient(warehouse, patient_id)
    query = sql_files.read_statements("explorer/patient.sql")["days"]
    return [day for (day,) in warehouse.con.execute(query, {"patient": patient_id}).fetchall()]


def read_history(warehouse: Warehouse, patient_id: str, day: date) -> History:
    """The patient as the session of a day shows them; NotFoundError if it does not."""
    patient = find_patient(warehouse, patient_id)
    sql = sql_files.read_statements("explorer/patient.sql")
    asked = warehouse.con.execute(sql["events"], {"patient": patient_id})
    rows = _name_columns([column[0] for column in asked.description or ()], asked.fetchmany(MOST))
    events = [
        Event(
            row["event"],
            row["day"] if isinstance(row["day"], date) else None,
            row["available_date"],
            row["what"] or "",
            row["detail"] or "",
            row["n_images"] or 0,
            row["id"],
            row["available_date"] == day,
        )
        for row in rows
    ]
    changed = patient.clinical_changes()
    changes = [] if changed is None else _name_columns(changed.columns, changed.fetchmany(MOST))
    series: dict[str, list[Series]] = {}
    for row in warehouse.con.execute(sql["series"], {"patient": patient_id}).fetchmany(MOST):
        study, uid, modality, description, n_images, image = row
        found = Series(study, uid, image, modality or "", description or "", n_images)
        series.setdefault(study, []).append(found)
    summary = patient.summary()
    (facts,) = _name_columns(summary.columns, summary.fetchall())
    return History(patient_id, day, {name: facts[name] for name in FACTS}, events, changes, series)


def list_patients(warehouse: Warehouse, patient_ids: list[str]) -> list[dict[str, Any]]:
    """The rows of some patients in view `patients`."""
    query = sql_files.read_statements("explorer/patient.sql")["patients"]
    asked = warehouse.con.execute(query, {"patients": patient_ids})
    return _name_columns([column[0] for column in asked.description or ()], asked.fetchall())


def _name_columns(names: list[str], rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Rows by the names of their columns. A header may have a day in the year 0, which Python's dates have not: DuckDB
    gives it as text, where Arrow fails."""
    return [dict(zip(names, row, strict=True)) for row in rows]
