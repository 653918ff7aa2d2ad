"""The shapes of what the API takes and returns, from which its OpenAPI document is made."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Scalar = str | int | float | bool | None


class Asked(BaseModel):
    """A body that takes no unknown fields, so that a misspelt one is not overlooked."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SqlQuestion(Asked):
    """One SELECT over the views."""

    sql: str = Field(max_length=1_000_000, description="One SELECT over the views (GET /tables).")
    parameters: dict[str, Scalar | list[Scalar]] = Field(
        default_factory=dict, description="Values for $name in the query."
    )
    most_rows: int | None = Field(default=None, ge=0, description="Rows at most; the server has a limit too.")


class CohortQuestion(Asked):
    """Parameters of a cohort, and its SQL if it is one of your own (docs/cohorts.md)."""

    parameters: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict, description="Parameters by name.")
    sql: str = Field(
        default="", max_length=1_000_000, description="The text of a cohort of your own, with its header; needs rows."
    )


class RowsQuestion(CohortQuestion):
    """The same, with the most rows."""

    most_rows: int | None = Field(default=None, ge=0, description="Rows at most; the server has a limit too.")


class CountQuestion(CohortQuestion):
    """The same, with the base of rounding."""

    suppress: int | None = Field(default=None, ge=0, description="Counts are rounded to multiples of it.")


class TableQuestion(CountQuestion):
    """The same, with the column or characteristic that makes the columns of table 1."""

    by: str | None = Field(default=None, description="A column of the answer, or a characteristic such as centre.")


class ManifestQuestion(CohortQuestion):
    """The same, with the objects that the manifest lists."""

    objects: list[str] = Field(default_factory=list, description="dcm, json, clinical; dcm and json by default.")


class Source(BaseModel):
    """What an answer is of."""

    snapshot: int = Field(description="The number of the published snapshot.")
    as_of: date | None = Field(description="Only what was available on or before this day; null for all.")
    group: str = Field(description="The group of patients.")


class About(Source):
    """The service, and what the caller may ask."""

    version: str
    snapshot_time: datetime | None = Field(description="None if it is later than the day that the server shows.")
    caller: str
    rights: str = Field(description="counts, rows (and counts) or pixels (and rows).")
    groups: list[str]
    suppress: int = Field(description="The base that counts are rounded to.")
    most_rows: int
    seconds: float = Field(description="What a question may take.")


class SnapshotModel(BaseModel):
    """A published snapshot."""

    number: int
    time: datetime | None = Field(description="None if it is later than the day that the server shows.")


class Snapshots(BaseModel):
    """The published snapshots that the lake still has, oldest first."""

    snapshots: list[SnapshotModel]


class TableSummary(BaseModel):
    """A view."""

    name: str
    meaning: str
    n_columns: int


class Tables(BaseModel):
    """The views that can be queried."""

    tables: list[TableSummary]


class ColumnModel(BaseModel):
    """A column of a view."""

    name: str
    type: str
    unit: str
    meaning: str
    source: str = Field(description="A DICOM tag, a key of the clinical record, or where it is from.")
    section: str
    limits: str = Field(description="Values outside are null.")
    categories: str = Field(description="Codes and what they mean.")


class TableModel(BaseModel):
    """A view with its columns."""

    name: str
    meaning: str
    columns: list[ColumnModel]


class RowColumn(BaseModel):
    """A column of an answer, with its type in DuckDB."""

    name: str
    type: str


class Rows(Source):
    """Rows. Dates and times are ISO 8601, intervals seconds, NaN and infinity null, binary values hexadecimal."""

    truncated: bool = Field(description="Whether rows were left off, because of the most rows or bytes.")
    n_rows: int
    columns: list[RowColumn]
    rows: list[dict[str, Any]]


class CohortModel(BaseModel):
    """A cohort: a named question whose rows name patients, studies, series or images."""

    name: str
    title: str
    question: str
    definition: str
    limits: str
    grain: str
    params: list[dict[str, Any]]
    labels: dict[str, str]
    tables: dict[str, dict[str, str]]
    steps: list[dict[str, Any]]


class CohortWithSql(CohortModel):
    """The same with its SQL."""

    sql: str


class Cohorts(BaseModel):
    """The cohorts that the warehouse ships."""

    cohorts: list[CohortModel]


class Counts(Source):
    """The number of patients of a cohort, rounded."""

    cohort: str
    parameters: dict[str, Any]
    suppress: int
    patients: int


class Attrition(Source):
    """What remains after each step of a cohort; patients only, where counts are rounded."""

    cohort: str
    parameters: dict[str, Any]
    suppress: int
    steps: list[dict[str, Any]]


class Table1Model(Source):
    """The characteristics of the patients of a cohort, computed from rounded counts."""

    title: str
    source: str
    by: str | None
    rounded_to: int
    patients: list[dict[str, Any]]
    characteristics: list[dict[str, Any]]
    notes: list[str]


class PatientModel(Source):
    """The row of a patient in the view patients."""

    patient: dict[str, Any]


class CheckModel(BaseModel):
    """A check, and of how many patients its faulty rows are, rounded."""

    name: str
    severity: str
    title: str
    meaning: str
    table: str
    failed: bool
    patients: int | None = Field(description="null if the rows name no patients, or the number is withheld.")
    withheld: bool = Field(description="Whether the number differs by too few patients from one shown before.")


class Checks(Source):
    """The checks of the data."""

    suppress: int
    checks: list[CheckModel]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
