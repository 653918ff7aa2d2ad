"""The public views (sql/views, sql/concepts) as methods of a session, and whether its snapshot has them."""

from __future__ import annotations

import duckdb

from warehouse.engine import sql_files
from warehouse.errors import LakeError
from warehouse.lake import store


class Views:
    """What a session shows: a method for each public view."""

    __slots__ = ()

    con: duckdb.DuckDBPyConnection
    snapshot: store.Snapshot

    def _view(self, name: str) -> duckdb.DuckDBPyRelation:
        try:
            return self.con.sql(f"from {store.ALIAS}.main.{sql_files.identifier(name)}")
        except duckdb.CatalogException:
            self.require(name)
            raise

    def patients(self) -> duckdb.DuckDBPyRelation:
        """One row per patient with an image or a clinical record (sql/views/patients.sql)."""
        return self._view("patients")

    def clinical(self) -> duckdb.DuckDBPyRelation:
        """One row per patient: the clinical file that counts (sql/views/clinical.sql)."""
        return self._view("clinical")

    def clinical_history(self) -> duckdb.DuckDBPyRelation:
        """One row per clinical file."""
        return self._view("clinical_history")

    def clinical_issues(self) -> duckdb.DuckDBPyRelation:
        """One row per clinical value that was not taken plainly, and rule that it met."""
        return self._view("clinical_issues")

    def clinical_changes(self) -> duckdb.DuckDBPyRelation:
        """One row per column that differs between a clinical file and the one that it superseded."""
        return self._view("clinical_changes")

    def completeness(self) -> duckdb.DuckDBPyRelation:
        """One row per clinical column, centre, month and kind of file: how full it is."""
        return self._view("completeness")

    def has(self, view: str, column: str | None = None) -> bool:
        """Whether the snapshot has a view of this name, with this column: it has those that it was published with."""
        query = (
            f"select 1 from duckdb_columns() where database_name = {sql_files.literal(store.ALIAS)} "
            f"and schema_name = 'main' and table_name = {sql_files.literal(view)}"
        )
        query += f" and column_name = {sql_files.literal(column)}" if column else ""
        return self.con.execute(query).fetchone() is not None

    def require(self, view: str, column: str | None = None) -> None:
        """Raise LakeError unless the snapshot has the view, and the column."""
        if self.has(view, column):
            return
        lacks = f"no column {column} in its view {view}" if column and self.has(view) else f"no view {view}"
        raise LakeError(
            f"Snapshot {self.snapshot.number} has {lacks}: an older version published it. "
            "Refresh the lake, or choose a later snapshot."
        )

    def studies(self) -> duckdb.DuckDBPyRelation:
        """One row per patient and study."""
        return self._view("studies")

    def series(self) -> duckdb.DuckDBPyRelation:
        """One row per patient, study and series."""
        return self._view("series")

    def images(self) -> duckdb.DuckDBPyRelation:
        """One row per image."""
        return self._view("images")

    def headers(self) -> duckdb.DuckDBPyRelation:
        """One row per image, with its whole header as JSON."""
        return self._view("headers")

    def image_regions(self) -> duckdb.DuckDBPyRelation:
        """One row per image: the part of the body, projection and view that it shows (sql/concepts)."""
        return self._view("image_regions")

    def chest_films(self) -> duckdb.DuckDBPyRelation:
        """One row per chest X-ray, each SOPInstanceUID once."""
        return self._view("chest_films")

    def chest_ct(self) -> duckdb.DuckDBPyRelation:
        """One row per CT study of the chest."""
        return self._view("chest_ct")

    def swabs(self) -> duckdb.DuckDBPyRelation:
        """One row per swab for SARS-CoV-2 in the clinical files that count."""
        return self._view("swabs")

    def admissions(self) -> duckdb.DuckDBPyRelation:
        """One row per patient with a data file: admission, intensive care, intubation, death and follow-up."""
        return self._view("admissions")

    def rejects(self) -> duckdb.DuckDBPyRelation:
        """One row per object that could not be read: key, etag, reason, first_seen, last_seen and more.

        Of the group asked for; not cut by as-of date, since an object that cannot be read has none for sure.
        """
        return self.con.sql(sql_files.read_statements("reports/rejects.sql")["rejects"])
