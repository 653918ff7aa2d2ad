"""One patient: their rows in the views, in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb

from warehouse import notebook
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.engine.rows import fetch_first
from warehouse.errors import NotFoundError
from warehouse.query.days import parse_day
from warehouse.query.session import Session


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient, as of the session's day."""

    warehouse: Session
    patient_id: str

    def __repr__(self) -> str:
        """The patient and the as-of date."""
        day = f" as of {self.warehouse.day}" if self.warehouse.day else ""
        return f"<Patient {self.patient_id!r}{day}>"

    def _repr_html_(self) -> str:
        """The same for a notebook, with what it is known by."""
        facts = {"group": self.warehouse.group_name, "as of": self.warehouse.day, "lake": self.warehouse.location.name}
        return notebook.show_facts(f"Patient {self.patient_id}", facts)

    @explain_faults()
    def _rows(self, view: str, order: str) -> duckdb.DuckDBPyRelation:
        return self.warehouse.con.sql(
            f"from {sql_files.identifier(view)} where patient_id = $patient order by {order}",
            params={"patient": self.patient_id},
        )

    def summary(self) -> duckdb.DuckDBPyRelation:
        """The patient's row in `patients`."""
        return self._rows("patients", "patient_id")

    def clinical_history(self) -> duckdb.DuckDBPyRelation:
        """Every clinical file of the patient, oldest first."""
        return self._rows("clinical_history", "available_date, last_modified, key")

    @explain_faults()
    def known_at(self, day: date | str) -> duckdb.DuckDBPyRelation:
        """The record in effect as of a day: one row or no rows."""
        return self.warehouse.con.sql(
            "from known_at($patient, $day)", params={"patient": self.patient_id, "day": parse_day(day)}
        )

    def clinical_changes(self) -> duckdb.DuckDBPyRelation | None:
        """The changes that each of the patient's clinical files made; None if the snapshot is older than the view."""
        return (
            self._rows("clinical_changes", "available_date, new_key, field") if self._has("clinical_changes") else None
        )

    def clinical_issues(self) -> duckdb.DuckDBPyRelation | None:
        """The cleaning issues of the patient's clinical files; None if the snapshot is older than the view."""
        return (
            self._rows("clinical_issues", "available_date, key, field, rule") if self._has("clinical_issues") else None
        )

    def _has(self, view: str) -> bool:
        return self.warehouse.has(view)

    def studies(self) -> duckdb.DuckDBPyRelation:
        """The patient's studies, oldest first."""
        return self._rows("studies", "StudyDate, StudyTime, StudyInstanceUID")

    def series(self) -> duckdb.DuckDBPyRelation:
        """The patient's series, in the order of their studies."""
        return self._rows("series", "StudyDate, StudyInstanceUID, SeriesNumber, SeriesInstanceUID")

    def images(self) -> duckdb.DuckDBPyRelation:
        """The patient's images, in the order of their series."""
        return self._rows("images", "StudyDate, StudyInstanceUID, SeriesNumber, SeriesInstanceUID, InstanceNumber, key")

    @explain_faults()
    def timeline(self) -> duckdb.DuckDBPyRelation:
        """Studies and clinical files by day, with the columns day, event, what, detail, available_date, id."""
        return self.warehouse.con.sql(
            sql_files.read_statements("reports/patient.sql")["timeline"], params={"patient": self.patient_id}
        )

    @explain_faults()
    def records(self) -> duckdb.DuckDBPyRelation:
        """The complete clinical files as submitted, oldest first; only those available on the as-of date.

        Under an agreement for some fields `record` is null: a file has all of them.
        """
        found = self.warehouse.con.sql(
            sql_files.read_statements("reports/patient.sql")["records"], params={"patient": self.patient_id}
        )
        cover = self.warehouse.cover
        return found if cover is None or cover.fields is None else found.project("* replace (null as record)")


@explain_faults()
def find_patient(session: Session, patient_id: str) -> Patient:
    """Find a patient by pseudonym; NotFoundError if the session does not show them."""
    refuse_placeholders("The patient", patient_id)
    found = fetch_first(
        session.con.execute(
            "select patient_id from patients where patient_id = $patient",
            {"patient": patient_id},
        )
    )
    if not found:
        raise NotFoundError(
            f"No patient {patient_id!r} in group {session.group_name!r}{session.shown}. Pseudonyms are case-sensitive."
        )
    return Patient(session, patient_id)
