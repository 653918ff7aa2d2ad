"""What the quality report says, counted: asks the public views, gives dataclasses of counts and names.

No patient and no value of one is in here, so none can come onto the page. Counts say by their name what
they are numbers of (`n_patients`, `n_records`, …), for whoever has to hide small ones before they are shown.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from warehouse import __version__, checks, columns, report, sqlfiles
from warehouse.cleaning import tables
from warehouse.errors import LakeError

if TYPE_CHECKING:
    from warehouse.reader import Warehouse

#: What stands for a centre where there is none to name.
NOT_NAMED, NO_RECORD = "(centre not named)", "(no clinical record)"

#: One name for what is written in another case or with other white space, as units are matched (cleaning/units.py).
_SPELLING = r"trim(regexp_replace(coalesce(submitting_centre, ''), '[\s\p{Z}]+', ' ', 'g'))"
_CENTRE = f"lower({_SPELLING})"
#: Control, format (direction, zero width), surrogate, private and unassigned characters, breaks of line and paragraph.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_VIEWS = ("clinical_issues", "completeness")


@dataclass(frozen=True, slots=True)
class Scope:
    """What the report is about."""

    lake: str
    sources: tuple[str, ...]
    group: str
    day: date | None
    snapshot: int
    published_at: datetime
    tool: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What the views show, and the inventory of the whole snapshot, which balances."""

    n_patients: int
    n_positive: int
    n_negative: int
    n_without_record: int
    n_studies: int
    n_undated_studies: int
    n_series: int
    n_images: int
    n_clinical_files: int
    n_rejects: int
    inventory: dict[str, int]


@dataclass(frozen=True, slots=True)
class Studies:
    """Studies of a month and modality; without a month those without a StudyDate."""

    month: date | None
    modality: str
    n_studies: int


@dataclass(frozen=True, slots=True)
class Patients:
    """Patients of a centre and COVID-19 status (positive, negative, none)."""

    centre: str
    status: str
    n_patients: int


@dataclass(frozen=True, slots=True)
class Filled:
    """How many of a centre's records, to which the column applies, have a value in it."""

    section: str
    column: str
    centre: str
    n_records: int
    n_filled: int


@dataclass(frozen=True, slots=True)
class Repairs:
    """The values of a centre that met a rule of cleaning, and the number of its clinical files."""

    centre: str
    rule: str
    n_values: int
    n_patients: int
    n_files: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of cleaning, and what met it."""

    rule: str
    effect: str
    meaning: str
    n_values: int
    n_patients: int
    n_centres: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and the number of its faulty rows."""

    check: checks.Check
    n_rows: int

    @property
    def is_failed(self) -> bool:
        """Whether it found more than what is to be looked at."""
        return self.n_rows > 0 and self.check.severity is not checks.Severity.WARNING


@dataclass(frozen=True, slots=True)
class Rejected:
    """Objects that could not be read for one reason."""

    kind: str
    reason: str
    n_objects: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the report says; lists are in the order in which they are shown."""

    scope: Scope
    totals: Totals
    studies: list[Studies]
    patients: list[Patients]
    completeness: list[Filled]
    repairs: list[Repairs]
    rules: list[Rule]
    checks: list[Checked]
    rejects: list[Rejected]


def collect(warehouse: "Warehouse", results: Sequence[checks.Result] | None = None) -> Figures:
    """Count what a warehouse shows; LakeError when its snapshot is older than the views that are asked.

    The checks are run, unless what they found is given.
    """
    if missing := [view for view in _VIEWS if not warehouse.has(view)]:
        raise LakeError(
            f"Snapshot {warehouse.snapshot.number} has no view {missing[0]}: an older version published it. "
            "Refresh the lake, or choose a later snapshot."
        )
    rejects = sqlfiles.statements("reports/rejects.sql")["rejects"]
    sql = {
        name: sqlfiles.fill(text, centre=_CENTRE, spelling=_SPELLING, rejects=rejects)
        for name, text in sqlfiles.statements("reports/quality.sql").items()
    }
    found = {name: _rows(warehouse, query) for name, query in sql.items()}
    status = report.status(warehouse)
    names = _names(found["spellings"])
    return Figures(
        Scope(
            lake=_printable(status["lake"]),
            sources=tuple(_printable(row["source"]) for row in status["sources"]),
            group=warehouse.group_name,
            day=warehouse.day,
            snapshot=warehouse.snapshot.number,
            published_at=warehouse.snapshot.time,
            tool=__version__,
        ),
        _totals(status, found),
        [Studies(row["month"], _printable(row["modality"]), row["n_studies"]) for row in found["studies"]],
        _patients(found["centres"], names),
        _completeness(found["completeness"], names),
        _repairs(found, names),
        _rules(found["rules"]),
        [Checked(r.check, r.n_rows) for r in (checks.run(warehouse, limit=0) if results is None else results)],
        [Rejected(row["kind"] or "other", _printable(row["reason"]), row["n_objects"]) for row in found["rejects"]],
    )


Rows = list[dict[str, Any]]


def _rows(warehouse: "Warehouse", query: str) -> Rows:
    answer = warehouse.con.execute(query)
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def _names(spellings: Rows) -> dict[str | None, str]:
    """The name to show for each centre: the spelling of most of its files."""
    chosen: dict[str | None, str] = {None: NO_RECORD, "": NOT_NAMED}
    for row in sorted(spellings, key=lambda row: (row["n_files"], row["spelling"])):
        if row["centre"]:
            chosen[row["centre"]] = _printable(row["spelling"])
    # Two that differ in what cannot be shown alone are still two.
    names: dict[str | None, str] = {}
    for centre, name in chosen.items():
        again = [*names.values()].count(name)
        names[centre] = f"{name} [{again + 1}]" if again else name
    return names


def _printable(text: str) -> str:
    """A text from outside without what no page or SVG can hold, as control characters, or what would turn it round."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def _totals(status: dict[str, Any], found: dict[str, Rows]) -> Totals:
    by_status = {row["covid_status"]: row["n_patients"] for row in found["covid_status"]}
    kinds = ("objects", "image_json", "clinical_json", "dcm", "other", "rejected")
    return Totals(
        n_patients=status["patients"],
        n_positive=by_status.get("positive", 0),
        n_negative=by_status.get("negative", 0),
        n_without_record=by_status.get(None, 0),
        n_studies=status["studies"],
        n_undated_studies=status["studies"] - found["dated_studies"][0]["n_dated"],
        n_series=status["series"],
        n_images=status["images"],
        n_clinical_files=sum(row["n_files"] for row in found["spellings"]),
        n_rejects=sum(row["n_objects"] for row in found["rejects"]),
        inventory={kind: status[kind] for kind in kinds},
    )


def _patients(rows: Rows, names: dict[str | None, str]) -> list[Patients]:
    """The centre with most patients first, those without a centre last."""
    totals: dict[str | None, int] = {}
    for row in rows:
        totals[row["centre"]] = totals.get(row["centre"], 0) + row["n_patients"]
    order = {centre: (not centre, centre is None, -n, centre or "") for centre, n in totals.items()}
    return [
        Patients(names[row["centre"]], row["covid_status"] or "none", row["n_patients"])
        for row in sorted(rows, key=lambda row: (order[row["centre"]], -ord((row["covid_status"] or "n")[0])))
    ]


def _completeness(rows: Rows, names: dict[str | None, str]) -> list[Filled]:
    """In the order of the column table, centres by name."""
    fields = {column.name: (place, column.section) for place, column in enumerate(columns.record_columns())}
    listed = [
        Filled(
            fields[row["column_name"]][1], row["column_name"], names[row["centre"]], row["n_records"], row["n_filled"]
        )
        for row in rows
        if row["column_name"] in fields  # a snapshot may have a column that has been renamed since
    ]
    return sorted(listed, key=lambda filled: (fields[filled.column][0], centre_order(filled.centre)))


def _repairs(found: dict[str, Rows], names: dict[str | None, str]) -> list[Repairs]:
    files: dict[str, int] = {}
    for row in found["spellings"]:
        files[row["centre"]] = files.get(row["centre"], 0) + row["n_files"]
    listed = [
        Repairs(names[row["centre"]], row["rule"], row["n_values"], row["n_patients"], files[row["centre"]])
        for row in found["issues"]
    ]
    place = {row["rule"]: place for place, row in enumerate(tables.rows("rules"))}
    return sorted(listed, key=lambda repairs: (centre_order(repairs.centre), place.get(repairs.rule, len(place))))


def _rules(rows: Rows) -> list[Rule]:
    meanings = {row["rule"]: row["meaning"] for row in tables.rows("rules")}
    return [Rule(**row, meaning=meanings.get(row["rule"], "")) for row in rows]


def centre_order(name: str) -> tuple[bool, str, str]:
    """The order in which centres are listed: by name, those without one last."""
    return (name in (NOT_NAMED, NO_RECORD), name.casefold(), name)
