"""Rounds the figures of `chest status`, for whoever asks without an agreement where agreements are enforced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.disclosure_control import find_unit, round_count
from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first

if TYPE_CHECKING:
    from warehouse.query.session import Session

_SQL = "reports/status.sql"
#: Numbers of objects, images and rows: a patient has many.
_OF_THINGS = ("objects", "image_json", "clinical_json", "rejected", "dcm", "other", "studies", "series", "images")
_OF_REFRESHES = ("added", "changed", "removed", "images", "clinical", "rejected")
#: Tables that are not of patients: what the warehouse and the committee did.
_OWN = ("ops.refreshes", "ops.manifests", "ops.files", "ops.migrations", "access.events", "access.releases")


def round_status(warehouse: Session, found: dict[str, Any], base: int) -> dict[str, Any]:
    """The figures with every number of patients rounded to the base, and of what patients have to the unit that hides
    as many of them; what would be 0 has no name."""
    unit = find_unit(find_most(warehouse), base)
    rounded: dict[str, Any] = {name: round_count(found[name], unit) for name in (*_OF_THINGS, "withheld")}
    rounded["patients"] = round_count(found["patients"], base)
    rounded["as_of"] = {
        day: {"patients": round_count(each["patients"], base), "images": round_count(each["images"], unit)}
        for day, each in found["as_of"].items()
    }
    rounded["modality"] = _round_all(found["modality"], unit)
    rounded["tables"] = {
        name: n_rows if name in _OWN else round_count(n_rows, unit) for name, n_rows in found["tables"].items()
    }
    reasons = _round_all({row["reason"]: row["objects"] for row in found["reject_reasons"]}, unit)
    rounded["reject_reasons"] = [{"reason": reason, "objects": n} for reason, n in reasons.items()]
    rounded["sources"] = [
        row | {"objects": round_count(row["objects"], unit), "bytes": None} for row in found["sources"]
    ]
    rounded["refreshes"] = [
        {name: round_count(value, unit) if name in _OF_REFRESHES else value for name, value in row.items()}
        for row in found["refreshes"]
    ]
    rounded["blocked"] = [row | {"rows": round_count(row["rows"], unit)} for row in found["blocked"]]
    return found | rounded


def find_most(warehouse: Session) -> int:
    """The most objects, or issues of clinical records, that one patient of the whole snapshot has."""
    row = fetch_first(warehouse.con.execute(sql_files.read_statements(_SQL)["most"]))
    return int(row[0]) if row else 0


def _round_all(counts: dict[str, int], unit: int) -> dict[str, int]:
    rounded: dict[str, Any] = {name: round_count(count, unit) for name, count in counts.items()}
    return {name: count for name, count in rounded.items() if count}
