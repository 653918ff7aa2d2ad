"""The public views (sql/views, sql/concepts) as methods of a session, and tests for their existence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog.columns import load_relations
from warehouse.catalog.public_views import VIEW_ORDER
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.rows import fetch_first
from warehouse.errors import AccessRefusedError, LakeError
from warehouse.lake import store

if TYPE_CHECKING:
    from warehouse.access.coverage import Cover


def list_columns(con: duckdb.DuckDBPyConnection, view: str) -> list[str]:
    """The columns that a view of the lake has at the snapshot, in their order; none if there is no such view.

    `duckdb_columns()` would bind every view of the lake.
    """
    try:
        return con.sql(f"from {store.ALIAS}.main.{sql_files.identifier(view)}").columns
    except (duckdb.CatalogException, duckdb.BinderException):
        return []


class Views:
    """A method for each public view that a session shows."""

    __slots__ = ()

    con: duckdb.DuckDBPyConnection
    snapshot: store.Snapshot
    cover: Cover | None

    @explain_faults()
    def _view(self, name: str) -> duckdb.DuckDBPyRelation:
        try:
            place = "" if self.cover else f"{store.ALIAS}.main."
            return self.con.sql(f"from {place}{sql_files.identifier(name)}")
        except duckdb.CatalogException:
            self.require(name)
            raise

    def patients(self) -> duckdb.DuckDBPyRelation:
        """One row per patient with an image or a clinical record (sql/views/patients.sql)."""
        return self._view("patients")

    def clinical(self) -> duckdb.DuckDBPyRelation:
        """One row per patient: the record in effect (sql/views/clinical.sql)."""
        return self._view("clinical")

    def clinical_history(self) -> duckdb.DuckDBPyRelation:
        """One row per clinical file."""
        return self._view("clinical_history")

    def clinical_issues(self) -> duckdb.DuckDBPyRelation:
        """One row per clinical value that was nulled, repaired, changed or flagged, and rule."""
        return self._view("clinical_issues")

    def clinical_changes(self) -> duckdb.DuckDBPyRelation:
        """One row per column that differs between a clinical file and the file that it superseded."""
        return self._view("clinical_changes")

    def completeness(self) -> duckdb.DuckDBPyRelation:
        """One row per clinical column, centre, month and kind of file, with the share of filled values."""
        return self._view("completeness")

    @explain_faults()
    def has(self, view: str, column: str | None = None) -> bool:
        """Whether the snapshot has a view of this name, with this column; an older version may have published it."""
        if column:
            return column in list_columns(self.con, view)
        query = (
            f"select 1 from duckdb_views() where database_name = {sql_files.literal(store.ALIAS)} "
            f"and schema_name = 'main' and view_name = {sql_files.literal(view)}"
        )
        return fetch_first(self.con.execute(query)) is not None

    def require(self, view: str, column: str | None = None) -> None:
        """Raise LakeError unless the snapshot has the view and, if given, the column."""
        if self.has(view, column):
            return
        lacks = f"no column {column} in its view {view}" if column and self.has(view) else f"no view {view}"
        raise LakeError(
            f"Snapshot {self.snapshot.number} has {lacks}: an older version published it. "
            "Refresh the lake, or choose a later snapshot."
        )

    @contextlib.contextmanager
    def explain_lacks(self) -> Iterator[None]:
        """In a `with` block, LakeError where a query of ours fails because the snapshot lacks a view or column."""
        try:
            yield
        except (duckdb.BinderException, duckdb.CatalogException):
            known = load_relations()
            for view in VIEW_ORDER:
                for column in known[view].columns if view in known else ():
                    self.require(view, column.name)
            raise

    def studies(self) -> duckdb.DuckDBPyRelation:
        """One row per patient and study."""
        return self._view("studies")

    def series(self) -> duckdb.DuckDBPyRelation:
        """One row per patient, study and series."""
        return self._view("series")

    def volume_geometry(self) -> duckdb.DuckDBPyRelation:
        """One row per series with slices, and whether these form a volume (sql/views/volume_geometry.sql)."""
        return self._view("volume_geometry")

    def images(self) -> duckdb.DuckDBPyRelation:
        """One row per image."""
        return self._view("images")

    def headers(self) -> duckdb.DuckDBPyRelation:
        """One row per image, with its complete header as JSON."""
        return self._view("headers")

    def image_regions(self) -> duckdb.DuckDBPyRelation:
        """One row per image: its body part, projection and view (sql/concepts)."""
        return self._view("image_regions")

    def chest_films(self) -> duckdb.DuckDBPyRelation:
        """One row per chest X-ray, unique by SOPInstanceUID."""
        return self._view("chest_films")

    def chest_ct(self) -> duckdb.DuckDBPyRelation:
        """One row per CT study of the chest."""
        return self._view("chest_ct")

    def chest_ct_series(self) -> duckdb.DuckDBPyRelation:
        """One row per series of a CT study of the chest, ranked for reading: best = 1 (sql/concepts)."""
        return self._view("chest_ct_series")

    def swabs(self) -> duckdb.DuckDBPyRelation:
        """One row per swab for SARS-CoV-2 in the records in effect."""
        return self._view("swabs")

    def admissions(self) -> duckdb.DuckDBPyRelation:
        """One row per patient with a data file: admission, intensive care, intubation, death and follow-up."""
        return self._view("admissions")

    @explain_faults()
    def rejects(self) -> duckdb.DuckDBPyRelation:
        """One row per reject: key, etag, reason, first_seen, last_seen and more.

        Limited to the session's group, but not by as-of date, because the date of an unreadable object is uncertain.
        AccessRefusedError under an agreement that covers not everything of a group: what an object is that could not be
        read is not known.
        """
        if self.cover and not self.cover.is_by_group:
            raise AccessRefusedError(
                f"Agreement {self.cover.agreement} does not cover rejects: of what they are is not known, and it is "
                "limited to modalities, centres or fields."
            )
        return self.con.sql(sql_files.read_statements("reports/rejects.sql")["rejects"])
