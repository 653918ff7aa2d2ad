"""What a lake holds at its snapshot, counted: the figures behind `chest status`."""

import hashlib
import json
from typing import Any

from warehouse import lake, sqlfiles
from warehouse.reader import Warehouse

_SQL = "reports/status.sql"


def status(warehouse: Warehouse) -> dict[str, Any]:
    """Counts under the names that samples' truth.json uses, and what a person asks of a lake.

    `objects` to `other` are the inventory of the whole snapshot, and objects = image_json + clinical_json + rejected
    + dcm + other. `patients`, `studies`, `series`, `images` and `modality` are what the views show, so they follow
    as-of date and group. `as_of` has, when a day was asked for, that day's `patients` (with a clinical record),
    `images` and `latest_digest` (SHA-256 over the date of each patient's clinical file that counts).
    """
    sql = sqlfiles.statements(_SQL)
    found = {
        **_row(warehouse, sql["inventory"]),
        **_row(warehouse, sql["content"]),
        "modality": {row["modality"]: row["images"] for row in _rows(warehouse, sql["modalities"])},
        "as_of": {},
    }
    if warehouse.day:
        found["as_of"] = {str(warehouse.day): _as_of(warehouse, found["images"])}
    return {
        **found,
        "lake": warehouse.location.name,
        "group": warehouse.group_name,
        "snapshot": warehouse.snapshot.number,
        "published_at": warehouse.snapshot.time,
        "sources": _rows(warehouse, sql["sources"]),
        "tables": _row(warehouse, sql["tables"]),
        "reject_reasons": _rows(warehouse, sql["reject_reasons"]),
        "refreshes": _rows(warehouse, sql["refreshes"]),
        "unpublished_commits": _unpublished(warehouse),
    }


def _as_of(warehouse: Warehouse, images: int) -> dict[str, Any]:
    latest = {row["patient_id"]: row["day"] for row in _rows(warehouse, sqlfiles.statements(_SQL)["latest"])}
    digest = hashlib.sha256(json.dumps(latest, sort_keys=True).encode()).hexdigest()
    return {"patients": len(latest), "images": images, "latest_digest": digest}


def _unpublished(warehouse: Warehouse) -> int:
    """Commits after the newest published snapshot: a refresh is running, or was stopped and will go on."""
    history = lake.snapshots(warehouse.con)
    newest = max((s.number for s in history if s.is_published), default=-1)
    return sum(s.number > newest and not s.is_register for s in history)


def _rows(warehouse: Warehouse, query: str) -> list[dict[str, Any]]:
    answer = warehouse.con.execute(query)
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def _row(warehouse: Warehouse, query: str) -> dict[str, Any]:
    return _rows(warehouse, query)[0]
