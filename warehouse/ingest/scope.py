"""The part of a bucket that a refresh covers: keys by prefix, or all keys of some patients.

In the standard layouts the keys of a patient have known prefixes. By a pattern the patient may be anywhere in a key:
then wider prefixes are listed, and the keys that name other patients are left out.

Messages never repeat a prefix or a patient, because they go into logs, where pseudonyms must not appear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.placeholders import escape_placeholders, refuse_placeholders
from warehouse.engine.rows import fetch_first
from warehouse.errors import UsageError
from warehouse.lake import optimisers
from warehouse.object_store import keys
from warehouse.object_store.layouts import Layout

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

    `parts` are prefixes by the name of what was asked for; `patients`, likewise by name, those whom the pattern of
    `layout` finds in keys. `prefixes` are the prefixes to list, none within another; () is the whole bucket.
    """

    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Prefixes such that each key of the part starts with exactly one of them."""
        of_patients = (prefix for one in self.patients.values() for prefix in self.layout.list_prefixes(one))
        return _drop_covered([*(prefix for part in self.parts.values() for prefix in part), *of_patients])

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of `render_within`."""
        if not self.patients:
            return {"prefixes": list(self.prefixes)}
        asked = _drop_covered(prefix for part in self.parts.values() for prefix in part)
        return {"prefixes": list(asked), **_name_patients(self.layout, self.patients.values())}

    def render_within(self, key: str) -> str:
        """SQL that tests whether a key is in the part."""
        if not self.patients:
            return sql_files.fill(sql_files.read_statements(_SQL)["within"], key=key)
        return _render_test(self.layout, key)

    def covers(self, key: str) -> bool:
        """Whether a key is in the part; the same in Python."""
        if not self.patients:
            return not self.parts or key.startswith(self.prefixes)
        asked = tuple(prefix for part in self.parts.values() for prefix in part)
        return key.startswith(asked) or self.layout.find_patient(key) in self.patients.values()


def _name_patients(layout: Layout, patients: Iterable[str]) -> dict[str, Any]:
    return {"patients": list(patients), "pattern": layout.pattern}


def _render_test(layout: Layout, key: str) -> str:
    """SQL that tests a key against `$prefixes`, and the patient that the pattern finds in it against `$patients`."""
    sql = sql_files.read_statements(_SQL)["within_patients"]
    return sql_files.fill(sql, key=key, number=str(layout.groups["patient"]))


def check_scope(prefixes: Sequence[str], patients: Sequence[str]) -> None:
    """Raise UsageError for a prefix or a patient that no key can have."""
    refuse_placeholders("A prefix", *prefixes)
    refuse_placeholders("A patient of the list", *patients)
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
    layout: Layout | None = None,
) -> Scope:
    """Resolve the part of a source: patients in every group that the lake has of it, in both standard layouts; or by
    the pattern of its layout."""
    check_scope(prefixes, patients)
    layout = layout or Layout()
    parts: dict[str, tuple[str, ...]] = {
        f"prefix {place}": (prefix,) for place, prefix in enumerate(prefixes, 1) if prefix
    }
    # Rejects have keys in that spelling, too.
    spelt = dict.fromkeys([*changed_prefixes, *map(escape_placeholders, changed_prefixes)])
    changed = {_CHANGED: tuple(spelt)} if spelt else {}
    named = {f"patient {place}": patient.strip(" ") for place, patient in enumerate(patients, 1)}
    if not layout.is_standard:
        return Scope(parts | changed, named, layout)
    if patients:
        known = con.execute(sql_files.read_statements(_SQL)["groups"], {"source": source}).fetchall()
        groups = sorted({*keys.GROUPS, *(group for (group,) in known)})
        parts |= {
            f"patient {place}": tuple(prefix for group in groups for prefix in keys.list_prefixes(patient, group))
            for place, patient in enumerate(patients, 1)
        }
    return Scope(parts | changed)


def leave_out_others(con: duckdb.DuckDBPyConnection, asked: Scope) -> None:
    """Drop the keys of `listing` that are not in the part, where the prefixes that were listed are wider."""
    if asked.patients:
        query = sql_files.fill(sql_files.read_statements(_SQL)["leave_out"], within=asked.render_within("key"))
        con.execute(query, asked.parameters)


def require_objects(con: duckdb.DuckDBPyConnection, source: str, asked: Scope) -> None:
    """Raise UsageError for a part that has no object, neither in the table `listing` nor in the lake."""
    query = sql_files.read_statements(_SQL)["any"]
    of_prefixes = [Scope({name: prefixes}) for name, prefixes in asked.parts.items() if name != _CHANGED]
    of_patients = [Scope({}, {name: patient}, asked.layout) for name, patient in asked.patients.items()]
    for part in (*of_prefixes, *of_patients):
        wanted = {"source": source, **part.parameters}
        found = con.execute(sql_files.fill(query, within=part.render_within("key")), wanted)
        if not fetch_first(found) and not _was_removed_before(con, part, wanted):
            (name,) = (*part.parts, *part.patients)
            what = "no key starts with it" if name.startswith("prefix") else "no object is of that name"
            raise UsageError(f"{source}: {name} of those given matches no object, {what}. Names are case-sensitive.")


def _was_removed_before(con: duckdb.DuckDBPyConnection, part: Scope, wanted: dict[str, Any]) -> bool:
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
    within = part.render_within("key")
    with optimisers.ignore_statistics_within(con):
        return any(
            fetch_first(con.execute(sql_files.fill(query, version=str(number), within=within), wanted))
            for number in before[-_LOOK_BACK:]
        )


def _drop_covered(prefixes: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return tuple(found)
