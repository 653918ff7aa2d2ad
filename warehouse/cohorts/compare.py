"""Explains how the answer of a cohort differs between two days, two snapshots or two definitions.

For every row that came, left or changed: the step that took or dropped it, and why. Reasons are looked for from near
to far: the definition, objects of the row, the clinical file of its patient, other objects of the patient, and at
last other patients, against whom a cohort may rank or draw.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from warehouse import columns, sqlfiles
from warehouse.cohorts import catalogue
from warehouse.cohorts.header import GRAINS
from warehouse.names import fold_name

if TYPE_CHECKING:
    from warehouse.cohorts.run import Cohort


#: Where the values of clinical records come from.
_RECORDS = {"clinical", "clinical_history", "clinical_changes", "clinical_issues", "patients", "known_at"}


class Kind(StrEnum):
    """What brought a difference about."""

    DEFINITION = "changed definition"
    NEW = "new object"
    REMOVED = "removed object"
    REPLACED = "replaced object"
    CLINICAL = "clinical file"
    OTHERS = "other patients"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row differs: the kind, and what exactly, in words."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that came, left or changed, by the name of its grain. `step` is where it was taken or dropped; `values` has
    the columns that differ, each with its old and new value."""

    id: str
    patient_id: str
    change: str
    step: str
    reasons: tuple[Reason, ...]
    values: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Patient:
    """What a warehouse shows of a patient: objects of images by key, the clinical file that counts, all file keys."""

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


def compare(old: "Cohort", new: "Cohort") -> list[Difference]:
    """Every difference from the old answer to the new, ordered by change and name, none without a reason."""
    if old.definition.grain != new.definition.grain:
        raise new.definition.problem(
            1,
            f"Its rows are of the grain {new.definition.grain}, the other's {old.definition.grain}: "
            "they cannot be compared.",
        )
    before, after = _by_id(old), _by_id(new)
    moved = {
        **dict.fromkeys(after.keys() - before.keys(), "came"),
        **dict.fromkeys(before.keys() - after.keys(), "left"),
        **{name: "changed" for name in before.keys() & after.keys() if _values(before[name], after[name])},
    }
    patients = _patients_of(moved, old, new, before, after)
    named = sorted({p for found in patients.values() for p in found})
    sides = (_facts(old, named), _facts(new, named))
    by_definition = _by_definition(old, new, moved, after)
    steps = {
        "came": _steps(old, [name for name, change in moved.items() if change == "came"]),
        "left": _steps(new, [name for name, change in moved.items() if change == "left"]),
    }
    reads_records = not _RECORDS.isdisjoint(_read_by(old) | _read_by(new))
    used = _names_used(old) | _names_used(new)
    others = _others(old, new)
    found = []
    for name, change in moved.items():
        reasons = [Reason(Kind.DEFINITION, by_definition[name])] if name in by_definition else []
        for patient in sorted(patients[name]):
            then, now = (side.get(patient, _Patient()) for side in sides)
            reasons += _of_objects(new.definition.grain_column, name, then, now)
            reasons += _of_record(then, now, used) if reads_records else []
            if not reasons:
                reasons += _of_objects("", "", then, now)
        where = steps.get(change, {}).get(name, "")
        found.append(
            Difference(
                name,
                ", ".join(sorted(patients[name])),
                change,
                where,
                tuple(reasons) or (Reason(Kind.OTHERS, others),),
                _values(before[name], after[name]) if change == "changed" else {},
            )
        )
    order = ("came", "left", "changed")
    return sorted(found, key=lambda d: (order.index(d.change), d.id))


def _by_id(cohort: "Cohort") -> dict[str, dict[str, Any]]:
    column = cohort.definition.grain_column
    return {row[column]: row for row in cohort.rows.to_pylist()}


def _values(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in new if name in old]
    return {name: (old[name], new[name]) for name in names if old[name] != new[name]}


def _patients_of(
    moved: Iterable[str], old: "Cohort", new: "Cohort", before: dict[str, Any], after: dict[str, Any]
) -> dict[str, set[str]]:
    """The patients that each row is of: by its own column, else by the images."""
    found: dict[str, set[str]] = defaultdict(set)
    unnamed = []
    for name in moved:
        for row in (before.get(name), after.get(name)):
            if row and row.get("patient_id"):
                found[name].add(row["patient_id"])
        if not found[name]:
            unnamed.append(name)
    column = new.definition.grain_column
    for cohort in (old, new) if unnamed else ():
        asked = f"select distinct {column}, patient_id from images where {column} in (select unnest($names))"
        for name, patient in cohort.warehouse.con.execute(asked, {"names": unnamed}).fetchall():
            found[name].add(patient)
    return found


def _facts(cohort: "Cohort", patients: list[str]) -> dict[str, _Patient]:
    """What the cohort's warehouse shows of the patients."""
    con, given = cohort.warehouse.con, {"patients": patients}
    facts: dict[str, _Patient] = defaultdict(_Patient)
    of_them = "patient_id in (select unnest($patients))"
    ids = ", ".join(GRAINS.values())
    for row in _dicts(con.execute(f"select {ids}, key, etag, dcm_key, dcm_etag from images where {of_them}", given)):
        facts[row["patient_id"]].images[row["key"]] = row
    shown = ", ".join(f"cast({name} as varchar) as {name}" for name in map(sqlfiles.identifier, _compared()))
    for row in _dicts(con.execute(f"select patient_id, key, etag, {shown} from clinical where {of_them}", given)):
        facts[row["patient_id"]].record.update(row)
    for row in _dicts(con.execute(f"select patient_id, key from clinical_history where {of_them}", given)):
        facts[row["patient_id"]].files.add(row["key"])
    return facts


def _compared() -> list[str]:
    fields = columns.relations()["clinical"].columns
    return [c.name for c in fields if c.is_field or c.kind == "unit" or c.name in ("kind", "available_date")]


def _dicts(answer: Any) -> Iterator[dict[str, Any]]:
    names = [column[0] for column in answer.description]
    return (dict(zip(names, row, strict=True)) for row in answer.fetchall())


def _of_objects(column: str, name: str, then: _Patient, now: _Patient) -> list[Reason]:
    """Objects of the row that are new, gone or replaced; of the whole patient without a column."""
    was = {key: row for key, row in then.images.items() if not column or row[column] == name}
    is_ = {key: row for key, row in now.images.items() if not column or row[column] == name}
    whose = "" if column else " of the patient"
    replaced = [key for key in was.keys() & is_.keys() if was[key]["etag"] != is_[key]["etag"]]
    fetched = [
        str(is_[key]["dcm_key"])
        for key in was.keys() & is_.keys()
        if is_[key]["dcm_key"] and was[key]["dcm_etag"] != is_[key]["dcm_etag"]
    ]
    reasons = []
    for kind, keys in (
        (Kind.NEW, is_.keys() - was.keys()),
        (Kind.REMOVED, was.keys() - is_.keys()),
        (Kind.REPLACED, [*replaced, *fetched]),
    ):
        if keys:
            first = min(keys)
            more = f" and {len(keys) - 1:,} more" if len(keys) > 1 else ""
            reasons.append(Reason(kind, f"{kind}{whose} {first}{more}"))
    return reasons


def _of_record(then: _Patient, now: _Patient, used: set[str]) -> list[Reason]:
    """What the clinical file that counts changed: the fields that the cohort names, else all."""
    old, new = then.record, now.record
    if not old and not new:
        return []
    if not old:
        return [Reason(Kind.CLINICAL, f"first clinical file {new['key']}")]
    if not new:
        return [Reason(Kind.REMOVED, f"removed object {old['key']}, the only clinical file")]
    if (old["key"], old["etag"]) == (new["key"], new["etag"]):
        return []
    changed = [name for name in _compared() if old[name] != new[name]]
    fields = [name for name in changed if name != "available_date"]
    told = [name for name in fields if name in used] or fields or changed
    words = (
        ", ".join(f"{name} from {_word(old[name])} to {_word(new[name])}" for name in told) or "nothing that is read"
    )
    if old["key"] not in now.files and old["key"] != new["key"]:
        return [Reason(Kind.REMOVED, f"removed object {old['key']}; {new['key']} counts, which changes {words}")]
    what = "newer clinical file" if old["key"] != new["key"] else "replaced clinical file"
    return [Reason(Kind.CLINICAL, f"{what} {new['key']} changed {words}")]


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def _by_definition(old: "Cohort", new: "Cohort", moved: dict[str, str], after: dict[str, Any]) -> dict[str, str]:
    """The rows whose difference is there on the same data too: what the old definition answers on the new data says."""
    from dataclasses import replace

    what = [
        *(["its SQL"] if old.definition.sql != new.definition.sql else []),
        *(
            f"{name} from {_word(old.values.get(name))} to {_word(value)}"
            for name, value in new.values.items()
            if old.values.get(name) != value
        ),
    ]
    if not what:
        return {}
    same_data = _by_id(replace(old, warehouse=new.warehouse))
    told = f"changed definition: {', '.join(what)}"
    return {
        name: told
        for name, change in moved.items()
        if (change == "came" and name not in same_data)
        or (change == "left" and name in same_data)
        or (change == "changed" and name in same_data and _values(same_data[name], after[name]))
    }


def _steps(cohort: "Cohort", names: list[str]) -> dict[str, str]:
    """For rows that are not in the answer, the first step, down from where the answer begins, that is without them."""
    if not names:
        return {}
    definition = cohort.definition
    known = {step.name: step for step in definition.steps}
    chain = [definition.answer]
    while chain[0].after:
        chain.insert(0, known[chain[0].after])
    column = definition.grain_column
    counted = [step for step in chain if column in cohort.step_columns[step.name]]
    query = "\nunion all ".join(
        f"select distinct {place} as place, {column} as name from {catalogue.table(step)} where {column} in "
        "(select unnest($the_names))"
        for place, step in enumerate(counted)
    )
    passed: dict[str, int] = defaultdict(int)
    for row in cohort.fetch(definition.followed_by(query), the_names=names).to_pylist():
        passed[row["name"]] = max(passed[row["name"]], row["place"] + 1)
    return {name: counted[min(passed[name], len(counted) - 1)].name for name in names}


def _names_used(cohort: "Cohort") -> set[str]:
    """The names of columns that the SQL reads."""
    from sqlglot import exp

    return {column.name for column in cohort.definition.tree.find_all(exp.Column)}


def _read_by(cohort: "Cohort") -> set[str]:
    """The names of views and functions that rows come from."""
    from sqlglot import exp

    return {fold_name(table.this.name) for table in cohort.definition.tree.find_all(exp.Table)}


def _others(old: "Cohort", new: "Cohort") -> str:
    """How much changed in all, for a row of which nothing did: the cohort ranks or draws among patients."""
    counted = []
    for cohort in (old, new):
        row = cohort.warehouse.con.execute(
            "select (select count(*) from images), (select count(*) from clinical_history)"
        ).fetchone()
        assert row is not None
        counted.append(row)
    (images, files), (images_now, files_now) = counted
    return (
        "nothing of this patient changed, but its place among others: "
        f"images went from {images:,} to {images_now:,}, clinical files from {files:,} to {files_now:,}"
    )
