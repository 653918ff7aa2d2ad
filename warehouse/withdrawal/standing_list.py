"""Reads the standing list: who has withdrawn or opted out, by keyed digest, and since when; and its versions.

Each command that changes the list makes a new version. A commit of the list states its version, and a snapshot that was
published states the version that it is free of, so that lakes without withdrawals pay nothing for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts
from warehouse.lake import store

if TYPE_CHECKING:
    import duckdb

_SQL = "withdrawal/standing_list.sql"


@dataclass(frozen=True, slots=True)
class Entry:
    """A patient of the list: withdrawn by themselves or a data manager, opted out nationally, or both."""

    digest: str
    is_withdrawn: bool
    is_opted_out: bool
    is_permitted: bool
    is_purge_due: bool
    is_purged: bool
    since: datetime | None
    changed_by: str | None
    reason: str | None
    allowed_by: str | None
    purged_at: datetime | None
    key_check: str

    @property
    def is_excluded(self) -> bool:
        """Whether nothing of the patient is shown or loaded. Who was purged stays out until they are given back."""
        return self.is_withdrawn or (self.is_opted_out and not self.is_permitted) or self.is_purged or self.is_purge_due

    @property
    def state(self) -> str:
        """What holds for the patient, in words."""
        if self.is_purge_due:
            return "purge not finished"
        if self.is_purged:
            return "purged"
        if self.is_withdrawn:
            return "withdrawn"
        if self.is_opted_out:
            return "opted out, included by permission" if self.is_permitted else "opted out"
        return "returned"


def find_version(history: Sequence[store.Snapshot]) -> int:
    """The newest version of the list that a lake's history states; 0 if there never was a list."""
    return max((int(s.info.get(name, 0)) for s in history for name in ("withdrawals", "withheld")), default=0)


def find_applied_version(history: Sequence[store.Snapshot], number: int) -> int:
    """The version of the list whose patients have no row left in a snapshot; 0 if none is known."""
    return max((int(s.info.get("withheld", 0)) for s in history if s.number <= number), default=0)


def is_applied(history: Sequence[store.Snapshot], number: int) -> bool:
    """Whether a snapshot has no row of anybody on the list as it is now."""
    return find_applied_version(history, number) == find_version(history)


def read_entries(con: duckdb.DuckDBPyConnection) -> list[Entry]:
    """Everybody who is or was on the list, at the newest state of the lake whatever snapshot `con` is pinned at."""
    history = store.list_snapshots(con)
    if not find_version(history):
        return []
    query = sql_files.fill(sql_files.read_statements(_SQL)["entries"], version=str(history[-1].number))
    return [Entry(**row) for row in fetch_dicts(con.execute(query))]


def list_excluded(con: duckdb.DuckDBPyConnection) -> tuple[set[str], set[str]]:
    """The digests of those whose data must not be seen, and the digests of the key that they were computed with."""
    entries = read_entries(con)
    return {entry.digest for entry in entries if entry.is_excluded}, {entry.key_check for entry in entries}
