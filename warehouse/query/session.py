"""A session: a lake opened to read, as of a day, for a group of patients, at a published snapshot.

Every answer is a DuckDB relation: `.pl()`, `.arrow()`, `.fetchall()` or `.show()` bring it in. `as_of` and `group`
give a new session on a connection of its own, so a relation keeps the day it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date
from types import TracebackType
from typing import Any, Self

import duckdb

from warehouse.engine import machine_memory, sql_files
from warehouse.engine.messages import clean_message
from warehouse.errors import LakeError, UsageError
from warehouse.lake import store
from warehouse.lake.location import Location, parse_address
from warehouse.object_store.keys import GROUPS
from warehouse.query import macros
from warehouse.query.days import parse_day
from warehouse.query.one_query import check_query
from warehouse.settings import Settings, load_settings

#: What `group` takes besides the name of a group.
ALL_GROUPS = "all"


@dataclass(frozen=True, slots=True)
class Session:
    """A lake opened to read. Made by `Session.open`; closes with `close()` or at the end of a `with` block."""

    con: duckdb.DuckDBPyConnection
    snapshot: store.Snapshot
    location: Location
    day: date | None = None
    group_name: str = "training"
    settings: Settings = field(default_factory=Settings)
    trusted: bool = True
    #: The same snapshot on a sandboxed connection, where this one is not: opened once, since opening takes long.
    _counterpart: list[Self] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        lake_address: str = "",
        *,
        snapshot: int | None = None,
        unpublished: bool = False,
        settings: Settings | None = None,
        trusted: bool = True,
    ) -> Self:
        """Open a lake to read, at its newest published snapshot or at the one given.

        `lake_address` defaults to CHEST_LAKE, then ./lake. Raises LakeError when there is none or it cannot be opened,
        UsageError for a snapshot that was not published. With `trusted=False` all SQL given to it is foreign.
        `unpublished` opens the newest snapshot of all, which may be half a refresh or blocked: to look into, not to
        use.
        """
        settings = settings or load_settings()
        if unpublished and snapshot is not None:
            raise UsageError("Give either a snapshot or unpublished, not both.")
        place = parse_address(lake_address or settings.lake)
        return cls._attach(place, settings, snapshot, unpublished=unpublished, trusted=trusted)

    @classmethod
    def _attach(
        cls,
        place: Location,
        settings: Settings,
        snapshot: int | None,
        *,
        unpublished: bool = False,
        trusted: bool,
    ) -> Self:
        con, chosen = store.open_reader(
            place,
            settings,
            snapshot,
            unpublished=unpublished,
            memory_mb=0 if trusted else machine_memory.foreign_duckdb_mb(settings),
        )
        opened = cls(con, chosen, place, settings=settings, trusted=trusted)
        _prepare(opened)
        if not trusted:
            from warehouse.query import sandbox

            sandbox.harden_connection(con, place, settings)
        return opened

    def __repr__(self) -> str:
        """The lake, and what of it is shown."""
        day = f", as of {self.day}" if self.day else ""
        held = "" if self.trusted else ", sandboxed"
        shown = f"snapshot {self.snapshot.number}, group {self.group_name}{day}{held}"
        return f"<{type(self).__name__} {self.location.name}: {shown}>"

    def as_of(self, day: date | str) -> Self:
        """The same lake, as it was known on a day (that day included). UsageError when it is no day."""
        return self._at(day=parse_day(day))

    def group(self, name: str) -> Self:
        """The same lake, for another group of patients: `training`, `validation`, … or `all`.

        UsageError for a group that neither the layouts of buckets nor the lake know.
        """
        if name not in (*GROUPS, ALL_GROUPS):
            found = self.con.execute(sql_files.statements("reports/status.sql")["groups"]).fetchall()
            known = sorted({*GROUPS, ALL_GROUPS, *(group for (group,) in found)})
            if name not in known:
                raise UsageError(f"There is no group {name!r}. There are {', '.join(known)}.")
        return self._at(group_name=name)

    def _at(self, **changes: Any) -> Self:
        changed = replace(self, con=self.con.cursor(), **changes)
        _prepare(changed)
        return changed

    def sql(self, query: str, /, *, trusted: bool = True, **parameters: object) -> duckdb.DuckDBPyRelation:
        """The answer to one SELECT over the views; `$name` in it is bound from the parameters.

        UsageError when it is not exactly one query, or DuckDB cannot make sense of it. A query that somebody else
        wrote is `trusted=False`: it gets at nothing but the views, and is stopped when it takes too long.
        """
        if trusted and self.trusted:
            return self.ask(query, parameters)
        held = self.sandboxed()
        with held.limited():
            answer = held.ask(query, parameters)
            try:
                return answer.execute()
            except duckdb.Error as error:
                raise UsageError(f"The query cannot be answered. {clean_message(error)}") from None

    def ask(self, query: str, parameters: Mapping[str, object]) -> duckdb.DuckDBPyRelation:
        """The same with the parameters as a mapping; of a session that is not trusted only `with limited()`.

        ForeignSqlError for what untrusted SQL may not do.
        """
        if self.trusted:
            check_query(self.con, query)
        else:
            from warehouse.query import sandbox

            sandbox.admit_query(self.con, query, parameters)
        macros.choose_tag_reading(self.con, query)
        try:
            return self.con.sql(query, params=dict(parameters)) if parameters else self.con.sql(query)
        except duckdb.Error as error:
            raise UsageError(f"The query cannot be answered. {clean_message(error)}") from None

    def sandboxed(self) -> Self:
        """The same, on a connection that untrusted SQL does not get out of (warehouse/query/sandbox)."""
        if not self.trusted:
            return self
        if not self._counterpart:
            self._counterpart.append(self._attach(self.location, self.settings, self.snapshot.number, trusted=False))
        return self._counterpart[0]._at(day=self.day, group_name=self.group_name)

    def fork(self) -> Self:
        """The same, with temporary tables of its own."""
        return self._at()

    def cursor(self) -> Self:
        """The same for another thread: one session answers one thread at a time, its cursors work side by side.

        May be called from any thread. It closes with the session that it came from.
        """
        return self.fork()

    def limited(self) -> AbstractContextManager[None]:
        """A `with` block in which untrusted SQL is kept to its time; and to its memory, where the process is ours."""
        from warehouse.engine import limits

        return limits.limit_resources(self.settings, self.con)

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
        again = "an older version published it. Refresh the lake, or choose a later snapshot."
        raise LakeError(f"Snapshot {self.snapshot.number} has {lacks}: {again}")

    def studies(self) -> duckdb.DuckDBPyRelation:
        """One row per patient and study."""
        return self._view("studies")

    def series(self) -> duckdb.DuckDBPyRelation:
        """One row per patient, study and series."""
        return self._view("series")

    def volume_geometry(self) -> duckdb.DuckDBPyRelation:
        """One row per series with slices: whether they stack to a volume (sql/views/volume_geometry.sql)."""
        return self._view("volume_geometry")

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

    def chest_ct_series(self) -> duckdb.DuckDBPyRelation:
        """One row per series of a CT study of the chest, ranked for reading: best = 1 (sql/concepts)."""
        return self._view("chest_ct_series")

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
        return self.con.sql(sql_files.statements("reports/rejects.sql")["rejects"])

    def close(self) -> None:
        """Close this connection to the lake; relations made from it are of no use any more."""
        self.con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _prepare(session: Session) -> None:
    """Give a connection the lake, the session variables that the views obey, and the macros."""
    con = session.con
    con.execute(f"use {store.ALIAS}")
    if session.day:
        con.execute(f"set variable as_of = cast({sql_files.literal(str(session.day))} as date)")
    con.execute(f"set variable group_name = {sql_files.literal(session.group_name)}")
    macros.create_macros(con)
