"""Computes the counts of the quality report from the public views and the checks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.catalog import columns
from warehouse.cleaning import tables
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_dicts
from warehouse.quality_report.model import (
    NO_RECORD,
    NOT_NAMED,
    STATUSES,
    Checked,
    Figures,
    Filled,
    Imaged,
    Patients,
    Rejected,
    Repairs,
    Rule,
    Scope,
    Studies,
    Totals,
    find_rate,
    order_by_name,
    order_by_size,
    to_percent,
)
from warehouse.query import checks, status
from warehouse.version import __version__

if TYPE_CHECKING:
    from warehouse.query.session import Session

#: What is counted.
Name = TypeVar("Name")

#: Control, format (direction, zero width), surrogate, private and unassigned characters, line and paragraph separators.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
#: Columns that older versions lack, as (view, column).
_NEEDED = (("clinical_issues", "centre"), ("completeness", "centre"), ("patients", "centre"))


def collect_metrics(warehouse: Session, results: Sequence[checks.Result] | None = None) -> Figures:
    """Compute the counts of a warehouse; LakeError if its snapshot is older than the views that are needed.

    Runs the checks, unless their results are given.
    """
    for view, column in _NEEDED:
        warehouse.require(view, column)
    rejects = sql_files.read_statements("reports/rejects.sql")["rejects"]
    sql = {
        name: sql_files.fill(text, rejects=rejects)
        for name, text in sql_files.read_statements("reports/quality.sql").items()
    }
    found = {name: _fetch_rows(warehouse, query) for name, query in sql.items()}
    with warehouse.explain_lacks():
        counts, sources = status.count_contents(warehouse), status.list_sources(warehouse)
    names = _choose_names(found["spellings"])
    studies = _collect_studies(found["studies"])
    patients = _collect_patients(found["centres"], names)
    return Figures(
        Scope(
            lake=_to_printable(warehouse.location.name),
            sources=tuple(_to_printable(row["source"]) for row in sources),
            group=warehouse.group_name,
            day=warehouse.day,
            snapshot=warehouse.snapshot.number,
            published_at=warehouse.snapshot.time,
            tool=__version__,
        ),
        _collect_totals(counts, found),
        studies,
        _collect_imaged(found["imaged"]),
        _sum_counts((count.modality, count.n_studies) for count in studies),
        patients,
        _sum_counts((count.centre, count.n_patients) for count in patients),
        _collect_completeness(found["completeness"], names),
        _collect_repairs(found, names),
        _collect_rules(found["rules"]),
        [
            Checked(r.check, r.n_rows, r.n_rows > 0, r.n_patients)
            for r in (checks.run_checks(warehouse, limit=0) if results is None else results)
        ],
        [Rejected(row["kind"] or "other", _to_printable(row["reason"]), row["n_objects"]) for row in found["rejects"]],
    )


def _sum_counts(counts: Iterable[tuple[Name, int]]) -> dict[Name, int]:
    totals: dict[Name, int] = {}
    for name, count in counts:
        totals[name] = totals.get(name, 0) + count
    return totals


Rows = list[dict[str, Any]]


def _fetch_rows(warehouse: Session, query: str) -> Rows:
    return fetch_dicts(warehouse.con.execute(query))


def _choose_names(spellings: Rows) -> dict[str | None, str]:
    """Choose the displayed name of each centre: its most frequent spelling."""
    chosen: dict[str | None, str] = {None: NO_RECORD, "": NOT_NAMED}
    for row in sorted(spellings, key=lambda row: (row["n_files"], row["spelling"])):
        if row["centre"]:
            chosen[row["centre"]] = _to_printable(" ".join(row["spelling"].split()))
    # Names that differ only in unprintable characters stay separate.
    names: dict[str | None, str] = {}
    for centre, name in chosen.items():
        again = [*names.values()].count(name)
        names[centre] = f"{name} [{again + 1}]" if again else name
    return names


def _to_printable(text: str) -> str:
    """Remove characters that a page or SVG cannot contain, and those that change the direction of text."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def _collect_totals(counts: dict[str, int], found: dict[str, Rows]) -> Totals:
    by_status = {row["covid_status"]: row["n_patients"] for row in found["covid_status"]}
    kinds = ("objects", "image_json", "clinical_json", "dcm", "other", "rejected")
    return Totals(
        n_patients=counts["patients"],
        n_positive=by_status.get("positive", 0),
        n_negative=by_status.get("negative", 0),
        n_without_record=by_status.get(None, 0),
        n_studies=counts["studies"],
        n_undated_studies=counts["studies"] - found["dated_studies"][0]["n_dated"],
        n_series=counts["series"],
        n_images=counts["images"],
        n_clinical_files=sum(row["n_files"] for row in found["spellings"]),
        n_rejects=sum(row["n_objects"] for row in found["rejects"]),
        inventory={kind: counts[kind] for kind in kinds},
        most_objects=found["most_objects"][0]["n_objects"],
    )


def _collect_studies(rows: Rows) -> list[Studies]:
    """Merge modalities that differ only in unprintable characters."""
    counts = _sum_counts(((row["month"], _to_printable(row["modality"])), row["n_studies"]) for row in rows)
    return [Studies(month, modality, n_studies) for (month, modality), n_studies in counts.items()]


def _collect_imaged(rows: Rows) -> list[Imaged]:
    counts = _sum_counts(
        ((row["month"], tuple(sorted({*map(_to_printable, row["modalities"])}))), row["n_patients"]) for row in rows
    )
    return [Imaged(month, modalities, n_patients) for (month, modalities), n_patients in counts.items()]


def _collect_patients(rows: Rows, names: dict[str | None, str]) -> list[Patients]:
    """Sort centres by number of patients, patients without a centre last."""
    listed = [Patients(names[row["centre"]], row["covid_status"] or "none", row["n_patients"]) for row in rows]
    totals = _sum_counts((count.centre, count.n_patients) for count in listed)
    return sorted(
        listed,
        key=lambda count: (order_by_size(count.centre, totals[count.centre]), STATUSES.index(count.status)),
    )


def _collect_completeness(rows: Rows, names: dict[str | None, str]) -> list[Filled]:
    """Sort by the order of the column table, then by name of the centre."""
    fields = {column.name: (place, column.section) for place, column in enumerate(columns.list_record_columns())}
    listed = [
        Filled(
            fields[row["column_name"]][1],
            row["column_name"],
            names[row["centre"]],
            to_percent(row["n_filled"], row["n_records"]),
            row["n_filled"],
            row["n_records"],
        )
        for row in rows
        if row["column_name"] in fields  # a snapshot may have a column that has been renamed since
    ]
    return sorted(listed, key=lambda filled: (fields[filled.column][0], order_by_name(filled.centre)))


def _collect_repairs(found: dict[str, Rows], names: dict[str | None, str]) -> list[Repairs]:
    files: dict[str, int] = {}
    for row in found["spellings"]:
        files[row["centre"]] = files.get(row["centre"], 0) + row["n_files"]
    listed = [
        Repairs(
            names[row["centre"]],
            row["rule"],
            find_rate(row["n_values"], files[row["centre"]]),
            row["n_values"],
            row["n_patients"],
            files[row["centre"]],
        )
        for row in found["issues"]
    ]
    place = {row["rule"]: place for place, row in enumerate(tables.read_rows("rules"))}
    return sorted(listed, key=lambda repairs: (order_by_name(repairs.centre), place.get(repairs.rule, len(place))))


def _collect_rules(rows: Rows) -> list[Rule]:
    meanings = {row["rule"]: row["meaning"] for row in tables.read_rows("rules")}
    return [Rule(**row, meaning=meanings.get(row["rule"], "")) for row in rows]
