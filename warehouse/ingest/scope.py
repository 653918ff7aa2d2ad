"""What part of a bucket a refresh touches: keys by their beginnings, or all keys of some patients.

A prefix or a patient is never repeated in a message: messages go into logs, and names of patients do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.lake import connection
from warehouse.object_store import keys

if TYPE_CHECKING:
    import duckdb

_SQL = "ingest/scope.sql"

#: How many listings back a prefix without keys is looked for.
_LOOK_BACK = 8
#: The part in which somebody heard of news: what was there may have gone since.
_HEARD = "heard"


@dataclass(frozen=True, slots=True)
class Scope:
    """What was asked for: beginnings of keys and patients, the union of both; without either, the whole bucket.

    `prefixes` are the beginnings that come of it, none within another; () is the whole bucket.
    """

    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Each key in question starts with one of these; with exactly one."""
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
                "for anything else there is the prefix."
            )


def find_scope(
    con: duckdb.DuckDBPyConnection,
    source: str,
    prefixes: Sequence[str],
    patients: Sequence[str],
    heard: Sequence[str] = (),
) -> Scope:
    """The part of a source that these name: patients in every group that the lake knows of it, in both layouts."""
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
    return Scope(parts | ({_HEARD: tuple(heard)} if heard else {}))


def require_objects(con: duckdb.DuckDBPyConnection, source: str, asked: Scope) -> None:
    """Raise UsageError for a part that has no object, neither in the table `listing` nor in the lake."""
    query = sql_files.read_statements(_SQL)["any"]
    for name, prefixes in asked.parts.items():
        wanted: dict[str, Any] = {"source": source, "prefixes": list(prefixes)}
        if name != _HEARD and not con.execute(query, wanted).fetchone() and not _was_removed_before(con, wanted):
            what = "no key starts with it" if name.startswith("prefix") else "no object is of that name"
            raise UsageError(f"{source}: {name} of those given names nothing, {what}. Names are case-sensitive.")


def _was_removed_before(con: duckdb.DuckDBPyConnection, wanted: dict[str, Any]) -> bool:
    """Whether the last listings took such keys away: a refresh of them that is run again is no mistake."""
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
            con.execute(sql_files.fill(query, version=str(number)), wanted).fetchone()
            for number in before[-_LOOK_BACK:]
        )


def _drop_covered(prefixes: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return tuple(found)
