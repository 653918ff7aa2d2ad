"""Explains differences of rows by changes of their objects and records, in the columns that the cohorts read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.cohorts import column_lineage
from warehouse.cohorts.header import GRAINS
from warehouse.engine.rows import fetch_dicts
from warehouse.engine.sql_files import identifier

if TYPE_CHECKING:
    from warehouse.cohorts.answer import CohortAnswer

#: The views with values of clinical records.
_RECORDS = {"clinical", "clinical_history", "clinical_changes", "known_at"}
#: The columns of images about the .dcm object.
_DCM = {"dcm_key", "dcm_size", "dcm_etag", "dcm_available_date"}


class Kind(StrEnum):
    """The cause of a difference."""

    DEFINITION = "changed definition"
    ADDED = "added object"
    REMOVED = "removed object"
    REPLACED = "replaced object"
    CLINICAL = "clinical file"
    OTHERS = "other patients"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row differs: the kind of cause, and its description."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """What two cohorts read together: columns of images and of records, and whether they read cleaning issues and whole
    headers."""

    images: frozenset[str]
    records: frozenset[str]
    issues: bool
    headers: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What a session shows of a patient: images by key, the record in effect, the submitted values of its cleaning
    issues, and the keys of all clinical files."""

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    issues: dict[str, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


def find_reads(old: CohortAnswer, new: CohortAnswer) -> Read:
    """Find what the two definitions read of images and records."""
    fields = column_lineage.find_fields_read(old.definition) | column_lineage.find_fields_read(new.definition)
    return Read(
        images=frozenset(column for view, column in fields if view == "images"),
        records=frozenset(column for view, column in fields if view in _RECORDS),
        issues=any(view == "clinical_issues" for view, _ in fields),
        headers=any(view == "headers" for view, _ in fields),
    )


def fetch_facts(cohort: CohortAnswer, patients: list[str], read: Read) -> dict[str, Facts]:
    """Fetch what the cohort's session shows of the patients."""
    con, given = cohort.warehouse.con, {"patients": patients}
    facts: dict[str, Facts] = defaultdict(Facts)
    of_them = "patient_id in (select unnest($patients))"
    ids = ", ".join(map(identifier, sorted({*GRAINS.values(), "key", "etag", *_DCM, *read.images})))
    for row in fetch_dicts(con.execute(f"select {ids} from images where {of_them}", given)):
        facts[row["patient_id"]].images[row["key"]] = row
    shown = ", ".join(f"cast({identifier(name)} as varchar) as {identifier(name)}" for name in _list_compared_columns())
    for row in fetch_dicts(con.execute(f"select patient_id, key, etag, {shown} from clinical where {of_them}", given)):
        facts[row["patient_id"]].record.update(row)
    for row in fetch_dicts(con.execute(f"select patient_id, key from clinical_history where {of_them}", given)):
        facts[row["patient_id"]].files.add(row["key"])
    asked = f"select patient_id, key, field, column_name, raw_value from clinical_issues where {of_them}"
    for row in fetch_dicts(con.execute(asked, given)) if read.issues else ():
        patient = facts[row["patient_id"]]
        if row["key"] == patient.record.get("key") and row["column_name"] in read.records:
            patient.issues[row["field"]] = row["raw_value"]
    return facts


def _list_compared_columns() -> list[str]:
    fields = columns.load_relations()["clinical"].columns
    return [c.name for c in fields if c.is_field or c.kind == "unit" or c.name in ("kind", "centre", "available_date")]


def explain_by_objects(column: str, name: str, then: Facts, now: Facts, read: Read) -> list[Reason]:
    """Explain by added, removed or replaced objects of the row; of the whole patient if `column` is empty.

    A header counts as replaced if it differs in a column that the cohorts read; a .dcm object counts only if they
    read a column about it.
    """
    was = {key: row for key, row in then.images.items() if not column or row[column] == name}
    is_ = {key: row for key, row in now.images.items() if not column or row[column] == name}
    whose = "" if column else " of the patient"
    both = was.keys() & is_.keys()
    found = {Kind.ADDED: {*(is_.keys() - was.keys())}, Kind.REMOVED: {*(was.keys() - is_.keys())}, Kind.REPLACED: set()}
    found[Kind.REPLACED] |= {
        key
        for key in both
        if was[key]["etag"] != is_[key]["etag"]
        and (read.headers or any(was[key][c] != is_[key][c] for c in read.images - _DCM))
    }
    for key in both if read.images & _DCM else ():
        before, after = (str(row["dcm_key"] or "") for row in (was[key], is_[key]))
        if before != after:
            found[Kind.ADDED] |= {after} - {""}
            found[Kind.REMOVED] |= {before} - {""}
        elif was[key]["dcm_etag"] != is_[key]["dcm_etag"]:
            found[Kind.REPLACED].add(after)
    reasons = []
    for kind, keys in found.items():
        if keys:
            more = f" and {len(keys) - 1:,} more" if len(keys) > 1 else ""
            reasons.append(Reason(kind, f"{kind}{whose} {min(keys)}{more}"))
    return reasons


def explain_by_record(then: Facts, now: Facts, read: Read) -> list[Reason]:
    """Explain by changes of the record in effect, in the fields that the cohorts read."""
    old, new = then.record, now.record
    if not old and not new:
        return []
    if not old:
        return [Reason(Kind.CLINICAL, f"first clinical file {new['key']}")]
    if not new:
        return [Reason(Kind.REMOVED, f"removed object {old['key']}, the only clinical file")]
    if (old["key"], old["etag"]) == (new["key"], new["etag"]):
        return []
    changes = [
        f"{name} from {format_value(old[name])} to {format_value(new[name])}"
        for name in _list_compared_columns()
        if name in read.records and old[name] != new[name]
    ]
    changes += [
        f"{name} from {_fetch_submitted(then, name)} to {_fetch_submitted(now, name)}"
        for name in sorted(then.issues.keys() | now.issues.keys())
        if not changes and then.issues.get(name) != now.issues.get(name)
    ]
    if not changes:
        return []
    words = ", ".join(changes)
    if old["key"] not in now.files and old["key"] != new["key"]:
        return [
            Reason(Kind.REMOVED, f"removed object {old['key']}; {new['key']} is now in effect, which changes {words}")
        ]
    what = "newer clinical file" if old["key"] != new["key"] else "replaced clinical file"
    return [Reason(Kind.CLINICAL, f"{what} {new['key']} changed {words}")]


def _fetch_submitted(patient: Facts, name: str) -> str:
    """The submitted value of a field with a cleaning issue."""
    return repr(patient.issues[name]) if name in patient.issues else "a value without an issue, or no value"


def format_value(value: Any) -> str:
    """Format a value for a sentence."""
    return "none" if value is None else str(value)
