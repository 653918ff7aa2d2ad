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

from warehouse.engine import machine_memory, query_text, sql_files
from warehouse.engine.messages import clean_message
from warehouse.errors import UsageError
from warehouse.lake import store
from warehouse.lake.location import Location, parse_address
from warehouse.object_store.keys import GROUPS
from warehouse.query import macros
from warehouse.query.days import parse_day
from warehouse.query.views import Views
from warehouse.settings import Settings, load_settings

#: What `group` takes besides the name of a group.
ALL_GROUPS = "all"


@dataclass(frozen=True, slots=True)
class Session(Views):
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
            memory_mb=0 if trusted else machine_memory.untrusted_duckdb_mb(settings),
        )
        opened = cls(con, chosen, place, settings=settings, trusted=trusted)
        _prepare_connection(opened)
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
            found = self.con.execute(sql_files.read_statements("reports/status.sql")["groups"]).fetchall()
            known = sorted({*GROUPS, ALL_GROUPS, *(group for (group,) in found)})
            if name not in known:
                raise UsageError(f"There is no group {name!r}. There are {', '.join(known)}.")
        return self._at(group_name=name)

    def _at(self, **changes: Any) -> Self:
        changed = replace(self, con=self.con.cursor(), **changes)
        _prepare_connection(changed)
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

        UntrustedSqlError for what untrusted SQL may not do.
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

    def close(self) -> None:
        """Close this connection to the lake; relations made from it are of no use any more."""
        self.con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _prepare_connection(session: Session) -> None:
    """Give a connection the lake, the session variables that the views obey, and the macros."""
    con = session.con
    con.execute(f"use {store.ALIAS}")
    if session.day:
        con.execute(f"set variable as_of = cast({sql_files.literal(str(session.day))} as date)")
    con.execute(f"set variable group_name = {sql_files.literal(session.group_name)}")
    macros.create_macros(con)


def check_query(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise UsageError unless the text is exactly one query that only reads."""
    query_text.check_query_text(query)
    try:
        statements = con.extract_statements(query)
    except duckdb.Error as error:
        raise UsageError(f"The query cannot be read. {clean_message(error)}") from None
    if len(statements) != 1:
        raise UsageError(f"Give one query, not {len(statements)}.")
    if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise UsageError(f"Only a SELECT can be asked here, not {statements[0].type.name}: the lake is read-only.")
