"""The part of a bucket that a refresh covers: keys by prefix, or all keys of some patients.

Messages never repeat a prefix or a patient, because they go into logs, where pseudonyms must not appear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.errors import UsageError
from warehouse.lake import connection
from warehouse.object_store import keys

if TYPE_CHECKING:
    import duckdb

_SQL = "ingest/scope.sql"

#: How many earlier listings are searched for a prefix without keys.
_LOOK_BACK = 8
#: The part in which a change was reported: its objects may have been removed since.
_CHANGED = "changed_prefixes"


@dataclass(frozen=True, slots=True)
class Scope:
    """The requested part: the union of prefixes and patients; without either, the whole bucket.

    `prefixes` are the resulting prefixes, none within another; () is the whole bucket.
    """

    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Prefixes such that each key of the part starts with exactly one of them."""
        return _drop_covered(prefix for part in self.parts.values() for prefix in part)


def check_scope(prefixes: Sequence[str], patients: Sequence[str]) -> None:
    """Raise UsageError for a prefix or a patient that no key can have."""
    for place, prefix in enumerate(prefixes, 1):
        if prefix.startswith("/") or "://" in prefix or not prefix.isprintable():
            raise UsageError(
                f"Prefix {place} is not valid. Give the start of a key, relative to the bucket, "
                "without a leading slash: training/Covid12/"
            )
    for place, patient in enumerate(patients, 1):
        if not patient.strip() or "/" in patient or not patient.isprintable() or patient in keys.NO_PATIENTS:
            raise UsageError(
                f"Patient {place} of the list is not valid. Give names as in the keys, such as Covid12; "
                "for other parts of the bucket, give a prefix."
            )


def find_scope(
    con: duckdb.DuckDBPyConnection,
    source: str,
    prefixes: Sequence[str],
    patients: Sequence[str],
    changed_prefixes: Sequence[str] = (),
) -> Scope:
    """Resolve the part of a source: patients in every group that the lake has of it, in both layouts."""
    check_scope(prefixes, patients)
    parts: dict[str, tuple[str, ...]] = {
        f"prefix {place}": (prefix,) for place, prefix in enumerate(prefixes, 1) if prefix
    }
    if patients:
        known = con.execute(sql_files.read_statements(_SQL)["groups"], {"source": source}).fetchall()
        groups = sorted({*keys.GROUPS, *(group for (group,) in known)})
        parts |= {
            f"patient {place}": tuple(prefix for group in groups for prefix in keys.list_prefixes(patient, group))
            for place, patient in enumerate(patients, 1)
        }
    return Scope(parts | ({_CHANGED: tuple(changed_prefixes)} if changed_prefixes else {}))


def require_objects(con: duckdb.DuckDBPyConnection, source: str, asked: Scope) -> None:
    """Raise UsageError for a part that has no object, neither in the table `listing` nor in the lake."""
    query = sql_files.read_statements(_SQL)["any"]
    for name, prefixes in asked.parts.items():
        wanted: dict[str, Any] = {"source": source, "prefixes": list(prefixes)}
        if name != _CHANGED and not fetch_first(con.execute(query, wanted)) and not _was_removed_before(con, wanted):
            what = "no key starts with it" if name.startswith("prefix") else "no object is of that name"
            raise UsageError(f"{source}: {name} of those given matches no object, {what}. Names are case-sensitive.")


def _was_removed_before(con: duckdb.DuckDBPyConnection, wanted: dict[str, Any]) -> bool:
    """Whether the last listings removed such keys: then repeating their refresh is not a mistake."""
    from warehouse.lake import store

    history = store.list_snapshots(con)
    numbers = [snapshot.number for snapshot in history]
    before = [
        numbers[place - 1]
        for place, snapshot in enumerate(history)
        if place and snapshot.info.get("source") == wanted["source"] and snapshot.info.get("removed")
    ]
    query = sql_files.read_statements(_SQL)["before"]
    with connection.ignore_statistics_within(con):
        return any(
            fetch_first(con.execute(sql_files.fill(query, version=str(number)), wanted))
            for number in before[-_LOOK_BACK:]
        )


def _drop_covered(prefixes: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return tuple(found)
