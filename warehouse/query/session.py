"""A session: a lake opened for reading, as of a day, for a group of patients, at a published snapshot.

Every answer is a DuckDB relation: fetch it with `.pl()`, `.arrow()`, `.fetchall()` or `.show()`. `as_of` and `group`
return a new session with its own connection, so a relation keeps the day that it was created for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from warehouse import notebook
from warehouse.engine import machine_memory, query_text, sql_files
from warehouse.engine.faults import explain_faults, require_catalogue
from warehouse.engine.messages import clean_message
from warehouse.errors import UsageError
from warehouse.lake import store
from warehouse.lake.location import Location, parse_address
from warehouse.object_store.keys import GROUPS
from warehouse.query import macros
from warehouse.query.days import parse_day
from warehouse.query.views import Views
from warehouse.settings import Settings, load_settings

#: The value of `group` for all groups.
ALL_GROUPS = "all"


@dataclass(frozen=True, slots=True)
class Session(Views):
    """A lake opened for reading. Created by `Session.open`; closed by `close()` or at the end of a `with` block."""

    con: duckdb.DuckDBPyConnection
    snapshot: store.Snapshot
    location: Location
    day: date | None = None
    group_name: str = "training"
    settings: Settings = field(default_factory=Settings)
    trusted: bool = True
    #: The same snapshot on a sandboxed connection, if this one is trusted; opened once, because opening is slow.
    _counterpart: list[Self] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        lake_address: str | Path = "",
        *,
        snapshot: int | None = None,
        unpublished: bool = False,
        settings: Settings | None = None,
        trusted: bool = True,
    ) -> Self:
        """Open a lake for reading, at its newest published snapshot or at the one given.

        `lake_address` defaults to CHEST_LAKE, then ./lake. Raises LakeError if there is no lake or it cannot be opened,
        UsageError for a snapshot that was not published. With `trusted=False` all SQL runs in the sandbox.
        `unpublished` opens the newest snapshot of all, which may be incomplete or blocked: for inspection only.
        """
        settings = settings or load_settings()
        if unpublished and snapshot is not None:
            raise UsageError("Give either a snapshot or unpublished, not both.")
        location = parse_address(lake_address or settings.lake)
        return cls._attach(location, settings, snapshot, unpublished=unpublished, trusted=trusted)

    @classmethod
    @explain_faults()
    def _attach(
        cls,
        location: Location,
        settings: Settings,
        snapshot: int | None,
        *,
        unpublished: bool = False,
        trusted: bool,
    ) -> Self:
        con, chosen = store.open_reader(
            location,
            settings,
            snapshot,
            unpublished=unpublished,
            memory_mb=0 if trusted else machine_memory.untrusted_duckdb_mb(settings),
        )
        opened = cls(con, chosen, location, settings=settings, trusted=trusted)
        _prepare_connection(opened)
        if not trusted:
            from warehouse.query import sandbox

            sandbox.harden_connection(con, location, settings)
        return opened

    def __repr__(self) -> str:
        """The lake, the snapshot, the group and the as-of date."""
        day = f", as of {self.day}" if self.day else ""
        held = "" if self.trusted else ", sandboxed"
        shown = f"snapshot {self.snapshot.number}, group {self.group_name}{day}{held}"
        return f"<{type(self).__name__} {self.location.name}: {shown}>"

    def _repr_html_(self) -> str:
        """The same for a notebook, with the time of the snapshot."""
        return notebook.show_facts(
            type(self).__name__,
            {
                "lake": self.location.name,
                "snapshot": f"{self.snapshot.number}, {self.snapshot.time:%Y-%m-%d %H:%M} UTC",
                "group": self.group_name,
                "as of": self.day,
                "SQL": "" if self.trusted else "sandboxed",
            },
        )

    def as_of(self, day: date | str) -> Self:
        """The same lake as of a day (inclusive). UsageError if the day is not valid."""
        return self._at(day=parse_day(day))

    @explain_faults()
    def group(self, name: str) -> Self:
        """The same lake for another group of patients: `training`, `validation`, … or `all`.

        UsageError for an unknown group.
        """
        self.require_group(name)
        return self._at(group_name=name)

    def require_group(self, name: str) -> None:
        """UsageError for an unknown group."""
        if name not in (*GROUPS, ALL_GROUPS):
            found = self.con.execute(sql_files.read_statements("reports/status.sql")["groups"]).fetchall()
            known = sorted({*GROUPS, ALL_GROUPS, *(group for (group,) in found)})
            if name not in known:
                raise UsageError(f"There is no group {name!r}. The groups are {', '.join(known)}.")

    @explain_faults()
    def narrow(self, day: date | None, group: str) -> Self:
        """The same lake as of a day, if one is given, for a known group: on one connection, which `close()` ends."""
        return self._at(day=day, group_name=group)

    def without_limits(self) -> Self:
        """The same lake for all groups and without an as-of date."""
        return self._at(day=None, group_name=ALL_GROUPS)

    @explain_faults()
    def _at(self, **changes: Any) -> Self:
        changed = replace(self, con=self.con.cursor(), **changes)
        _prepare_connection(changed)
        return changed

    def sql(self, query: str, /, *, trusted: bool = True, **parameters: object) -> duckdb.DuckDBPyRelation:
        """The answer to one SELECT over the views; `$name` in it is bound from the parameters.

        UsageError if it is not exactly one query or DuckDB reports an error. Pass `trusted=False` for a query that
        somebody else wrote: it can then read only the views, and is stopped if it takes too long.
        """
        if trusted and self.trusted:
            return self.ask(query, parameters)
        held = self.sandboxed()
        with held.limited():
            answer = held.ask(query, parameters)
            try:
                return answer.execute()
            except duckdb.Error as error:
                require_catalogue(error)
                raise UsageError(f"The query failed. {clean_message(error)}") from None

    def ask(self, query: str, parameters: Mapping[str, object]) -> duckdb.DuckDBPyRelation:
        """The same with the parameters as a mapping; in a sandboxed session, only within `limited()`.

        UntrustedSqlError for anything not allowed in untrusted SQL.
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
            require_catalogue(error)
            raise UsageError(f"The query failed. {clean_message(error)}") from None

    @explain_faults()
    def sandboxed(self) -> Self:
        """The same session on a sandboxed connection for untrusted SQL (warehouse/query/sandbox)."""
        if not self.trusted:
            return self
        if not self._counterpart:
            self._counterpart.append(self._attach(self.location, self.settings, self.snapshot.number, trusted=False))
        return self._counterpart[0]._at(day=self.day, group_name=self.group_name)

    @explain_faults()
    def at_snapshot(self, number: int) -> Self:
        """The same lake, day and group at another published snapshot; UsageError if it is gone. Close it after use."""
        opened = self._attach(self.location, self.settings, number, trusted=self.trusted)
        return opened._at(day=self.day, group_name=self.group_name)

    def fork(self) -> Self:
        """The same session with its own temporary tables."""
        return self._at()

    def cursor(self) -> Self:
        """The same session for another thread: a session serves one thread at a time; its cursors run in parallel.

        May be called from any thread. It closes with the session that it came from.
        """
        return self.fork()

    def limited(self) -> AbstractContextManager[None]:
        """Limit the time of untrusted SQL within a `with` block; and its memory, if the process is ours."""
        from warehouse.engine import limits

        return limits.limit_resources(self.settings, self.con)

    def close(self) -> None:
        """Close this connection to the lake; its relations can no longer be used."""
        self.con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _prepare_connection(session: Session) -> None:
    """Set up a connection: the macros, the lake, and the session variables that the views use."""
    con = session.con
    # In the lake DuckDB would look for every function of the macros in the lake first, which takes three times as long.
    con.execute("use memory")
    macros.create_macros(con)
    con.execute(f"use {store.ALIAS}")
    if session.day:
        con.execute(f"set variable as_of = cast({sql_files.literal(str(session.day))} as date)")
    con.execute(f"set variable group_name = {sql_files.literal(session.group_name)}")


def check_query(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise UsageError unless the text is exactly one read-only query."""
    query_text.check_query_text(query)
    try:
        statements = con.extract_statements(query)
    except duckdb.Error as error:
        raise UsageError(f"The query is not valid. {clean_message(error)}") from None
    if len(statements) != 1:
        raise UsageError(f"Give one query, not {len(statements)}.")
    if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise UsageError(f"Only SELECT is allowed here, not {statements[0].type.name}: the lake is read-only.")
