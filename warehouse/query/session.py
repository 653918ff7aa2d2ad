"""A session: a lake opened for reading, as of a day, for a group of patients, at a published snapshot.

Every answer is a DuckDB relation: fetch it with `.pl()`, `.arrow()`, `.fetchall()` or `.show()`. `as_of` and `group`
return a new session with its own connection, so a relation keeps the day that it was created for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import duckdb

from warehouse import notebook
from warehouse.engine import machine_memory, query_text, sql_files
from warehouse.engine.faults import explain_faults, require_lake
from warehouse.engine.messages import clean_message
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.errors import AccessRefusedError, UncoveredWarning, UsageError
from warehouse.lake import store
from warehouse.lake.location import Location, parse_address
from warehouse.object_store.keys import GROUPS
from warehouse.query import macros
from warehouse.query.days import parse_day
from warehouse.query.views import Views
from warehouse.settings import Settings, load_settings
from warehouse.withdrawal import hiding

if TYPE_CHECKING:
    from warehouse.access.coverage import Cover

#: What reads the changes of a table, with the rows that a change has deleted; and all that reads other snapshots than
#: that of the session.
_CHANGES = re.compile(r"ducklake_table_|table_(?:changes|insertions|deletions)", re.IGNORECASE)
_OLDER = re.compile(rf"\bat(?:\s|--[^\n]*\n|/\*.*?\*/)*\(|{_CHANGES.pattern}", re.IGNORECASE | re.DOTALL)
#: The value of `group` for all groups.
ALL_GROUPS = "all"
S = TypeVar("S", bound="Session")


@dataclass(frozen=True, slots=True)
class Session(Views):
    """A lake opened for reading. Created by `attach_as`; closed by `close()` or at the end of a `with` block."""

    con: duckdb.DuckDBPyConnection
    snapshot: store.Snapshot
    location: Location
    day: date | None = None
    group_name: str = "training"
    settings: Settings = field(default_factory=Settings)
    trusted: bool = True
    #: The agreement that its views are narrowed to, if there is one.
    cover: Cover | None = None
    #: The version of the standing list whose patients are hidden here (warehouse/withdrawal); 0 where there is none.
    standing_list: int = 0
    #: Whether they are hidden at every snapshot that can be read here: else their rows are gone from this one alone.
    is_history_hidden: bool = False
    #: Whether the snapshot may be incomplete or blocked: opened for inspection.
    is_unpublished: bool = False
    #: Whether DuckDB holds the right side of each join in memory here, whichever it takes for smaller.
    has_joins_as_written: bool = False
    #: The same snapshot on sandboxed connections, by `has_joins_as_written`; each opened once, because opening is slow.
    _counterparts: dict[bool, Self] = field(default_factory=dict, repr=False, compare=False)

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
        with_history: bool = False,
        joins_as_written: bool = False,
    ) -> Self:
        con, chosen = store.open_reader(
            location,
            settings,
            snapshot,
            unpublished=unpublished,
            memory_mb=0 if trusted else machine_memory.untrusted_duckdb_mb(settings),
        )
        try:
            version, folder = hiding.hide_withdrawn(con, location, chosen, with_history=with_history)
        except BaseException:
            con.close()
            raise
        opened = cls(
            con,
            chosen,
            location,
            settings=settings,
            trusted=trusted,
            standing_list=version,
            is_history_hidden=folder is not None,
            is_unpublished=unpublished,
            has_joins_as_written=joins_as_written,
        )
        _prepare_connection(opened)
        if not trusted:
            from warehouse.query import sandbox

            if joins_as_written:
                store.keep_joins_as_written(con)
            sandbox.harden_connection(con, location, settings, *([folder] if folder else []))
        return opened

    def __repr__(self) -> str:
        """The lake, the snapshot, the group and the as-of date."""
        day = f", as of {self.day}" if self.day else ""
        held = "" if self.trusted else ", sandboxed"
        held += f", agreement {self.cover.agreement}" if self.cover else ""
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
                "agreement": self.cover.agreement if self.cover else "",
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
        """UsageError for an unknown group, AccessRefusedError for one that the session's agreement does not cover."""
        if name not in (*GROUPS, ALL_GROUPS):
            found = self.con.execute(sql_files.read_statements("reports/status.sql")["groups"]).fetchall()
            known = sorted({*GROUPS, ALL_GROUPS, *(group for (group,) in found)})
            if name not in known:
                raise UsageError(f"There is no group {name!r}. The groups are {', '.join(known)}.")
        if self.cover:
            from warehouse.query import covering

            covering.require_group(self.cover, name)

    @explain_faults()
    def narrow(self, day: date | None, group: str, cover: Cover | None = None) -> Self:
        """The same lake as of a day and under an agreement, if they are given, for a known group: on one connection,
        which `close()` ends. AccessRefusedError for what the session's own agreement does not cover."""
        if self.cover:
            self.require_group(group)
        return self._at(day=day, group_name=group, cover=self._require_same(cover))

    @explain_faults()
    def under(self, cover: Cover) -> Self:
        """The same lake as an agreement covers it: its views show nothing else, and all SQL runs in the sandbox.

        AccessRefusedError if the session is under another."""
        return self._at(cover=self._require_same(cover))

    def _require_same(self, cover: Cover | None) -> Cover | None:
        """The session's own agreement, or the one that is given if it has none."""
        if self.cover and cover not in (None, self.cover):
            raise AccessRefusedError(
                f"This session shows what agreement {self.cover.agreement} covers. Open the lake under the other one."
            )
        return cover or self.cover

    def without_limits(self) -> Self:
        """The same lake for all groups and without an as-of date; under an agreement, all that it covers."""
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
        if trusted and self.trusted and not self.cover:
            return self.ask(query, parameters)
        held = self.sandboxed()
        with held.limited():
            answer = held.ask(query, parameters)
            try:
                return answer.execute()
            except duckdb.Error as error:
                require_lake(error)
                raise UsageError(f"The query failed. {clean_message(error)}") from None

    def ask(self, query: str, parameters: Mapping[str, object]) -> duckdb.DuckDBPyRelation:
        """The same with the parameters as a mapping; in a sandboxed session, only within `limited()`.

        UntrustedSqlError for anything not allowed in untrusted SQL.
        """
        refuse_placeholders("The query or a parameter", query, *parameters.values())
        if self.trusted and self.cover:
            raise UsageError("Under an agreement SQL runs in the sandbox.")
        if self.trusted:
            check_query(self.con, query)
            # Where patients are hidden by deletions of our own, only changes still have their rows: as deleted ones.
            older = _CHANGES if self.is_history_hidden else _OLDER
            if self.standing_list and older.search(query) and not hiding.is_history_clean(self.con):
                raise UsageError(
                    "Older snapshots still have patients who have withdrawn since, so a query cannot read one beside "
                    "another. Open the lake at that snapshot (--snapshot N), or ask for changes (--since N)."
                )
        else:
            from warehouse.query import sandbox

            self.require_covered(query, parameters)
            sandbox.admit_query(self.con, query, parameters)
        macros.choose_tag_reading(self.con, query)
        try:
            return self.con.sql(query, params=dict(parameters)) if parameters else self.con.sql(query)
        except duckdb.Error as error:
            require_lake(error)
            raise UsageError(f"The query failed. {clean_message(error)}") from None

    def require_covered(self, query: str, parameters: Mapping[str, object]) -> None:
        """AccessRefusedError if a query names what the session's agreement, if it has one, does not cover.

        A warning names what else is not in the answer.
        """
        if self.cover:
            import warnings

            from warehouse.query import covering

            for note in covering.require_covered(self, self.cover, query, parameters):
                warnings.warn(note, UncoveredWarning, stacklevel=3)

    @property
    def shown(self) -> str:
        """What the session shows, for a message on what it does not: as of which day, under which agreement."""
        day = f" as of {self.day}" if self.day else ""
        return f"{day} under agreement {self.cover.agreement}" if self.cover else day

    @explain_faults()
    def log_release(self, what: str, patients: Iterable[str] | None = None, **facts: Any) -> None:
        """Log that something is about to leave, if the session is under an agreement: the patients as a keyed digest.

        LakeError if it cannot be logged: then it may not leave.
        """
        if self.cover:
            from warehouse.access.enforcement import log_release

            facts |= {"snapshot": self.snapshot.number, "group": self.group_name}
            if self.day:
                facts["as_of"] = str(self.day)
            log_release(self.con, self.location, self.settings, self.cover.agreement, what, patients, **facts)

    @explain_faults()
    def sandboxed(self, *, joins_as_written: bool = False) -> Self:
        """The same session on a sandboxed connection for untrusted SQL (warehouse/query/sandbox).

        `joins_as_written` lets the right side of each join be held in memory; the answers are the same.
        """
        # An unpublished snapshot is opened once: another opening might find a newer one.
        if not self.trusted and (self.has_joins_as_written == joins_as_written or self.is_unpublished):
            return self
        if joins_as_written not in self._counterparts:
            number = self.snapshot.number
            self._counterparts[joins_as_written] = self._attach(
                self.location, self.settings, number, trusted=False, joins_as_written=joins_as_written
            )
        held = self._counterparts[joins_as_written]
        return held._at(day=self.day, group_name=self.group_name, cover=self.cover)

    @explain_faults()
    def at_snapshot(self, number: int) -> Self:
        """The same lake, day and group at another published snapshot; UsageError if it is gone. Close it after use."""
        opened = self._attach(self.location, self.settings, number, trusted=self.trusted)
        return opened._at(day=self.day, group_name=self.group_name, cover=self.cover)

    @explain_faults()
    def with_history(self) -> Self:
        """The same session, for reading older snapshots too: without patients who have withdrawn, at any of them."""
        if self.is_history_hidden or hiding.is_history_clean(self.con):
            return self.fork()
        number = self.snapshot.number
        opened = self._attach(self.location, self.settings, number, trusted=self.trusted, with_history=True)
        return opened._at(day=self.day, group_name=self.group_name, cover=self.cover)

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


def attach_as(
    kind: type[S],
    lake_address: str | Path = "",
    *,
    snapshot: int | None = None,
    unpublished: bool = False,
    settings: Settings | None = None,
    trusted: bool = True,
) -> S:
    """Open a lake for reading, at its newest published snapshot or at the one given, as a session of a `kind`.

    `lake_address` defaults to CHEST_LAKE, then ./lake. Raises LakeError if there is no lake or it cannot be opened,
    UsageError for a snapshot that was not published. With `trusted=False` all SQL runs in the sandbox.
    `unpublished` opens the newest snapshot of all, which may be incomplete or blocked: for inspection only.
    No agreement is asked for, even where the lake enforces them: that is left to the code that answers.
    """
    settings = settings or load_settings()
    if unpublished and snapshot is not None:
        raise UsageError("Give either a snapshot or unpublished, not both.")
    location = parse_address(lake_address or settings.lake)
    return kind._attach(location, settings, snapshot, unpublished=unpublished, trusted=trusted)


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
    if session.cover:
        from warehouse.query import covering

        covering.narrow_views(session, session.cover)


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
