"""Counts the contents of a lake at its snapshot: the figures of `chest status`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.faults import explain_faults
from warehouse.engine.rows import fetch_dicts
from warehouse.lake import encryption, store
from warehouse.lake.snapshots import find_blocked
from warehouse.query.session import Session
from warehouse.withdrawal import removal, standing_list

_SQL = "reports/status.sql"


@explain_faults()
def measure_status(warehouse: Session) -> dict[str, Any]:
    """Count the contents of a lake, under the names that truth.json of synthetic data uses.

    `objects` to `other` are the inventory of the whole snapshot, and objects = image_json + clinical_json + rejected
    + dcm + other; beside them, `withheld` are those of withdrawn patients that the buckets have. `patients`, `studies`,
    `series`, `images` and `modality` are those of the views, so they follow the as-of date and the group. With an as-of
    date, `as_of` has that day's `patients` (with a clinical record), `images` and `latest_digest` (SHA-256 over the
    date of each patient's record in effect). If `unpublished_commits` is not 0, a refresh is running, was interrupted
    and will resume, or was `blocked` by the checks named there.
    """
    with warehouse.explain_lacks():
        return _measure(warehouse)


def _measure(warehouse: Session) -> dict[str, Any]:
    sql = sql_files.read_statements(_SQL)
    snapshots = store.list_snapshots(warehouse.con)
    found: dict[str, Any] = {
        **count_contents(warehouse),
        "modality": {row["modality"]: row["images"] for row in _fetch_rows(warehouse, sql["modalities"])},
        "as_of": {},
        "withheld": removal.count_withheld(warehouse.con),
        "unfinished_purges": sum(entry.is_purge_due for entry in standing_list.read_entries(warehouse.con)),
    }
    if warehouse.day:
        found["as_of"] = {str(warehouse.day): _count_as_of(warehouse, found["images"])}
    return {
        **found,
        "lake": warehouse.location.name,
        "encrypted": encryption.is_encrypted(warehouse.con),
        "group": warehouse.group_name,
        "snapshot": warehouse.snapshot.number,
        "published_at": warehouse.snapshot.time,
        "sources": list_sources(warehouse),
        "tables": _count_tables(warehouse, snapshots[-1].number),
        "reject_reasons": _fetch_rows(warehouse, sql["reject_reasons"]),
        "refreshes": _fetch_rows(warehouse, sql["refreshes"]),
        "newest_published": store.find_unpublished(snapshots)[0],
        "unpublished_commits": len(store.find_unpublished(snapshots)[1]),
        "blocked": [asdict(one) for one in find_blocked(snapshots)],
    }


def count_contents(warehouse: Session) -> dict[str, int]:
    """Count the objects by kind, of the whole snapshot, and what the views have: as in `measure_status`."""
    sql = sql_files.read_statements(_SQL)
    return {
        **_fetch_row(warehouse, sql_files.fill(sql["inventory"], apart=_render_reject_filter(warehouse))),
        **_fetch_row(warehouse, sql["content"]),
    }


def list_sources(warehouse: Session) -> list[dict[str, Any]]:
    """List the sources of the snapshot, with the number of their objects and bytes."""
    return _fetch_rows(warehouse, sql_files.read_statements(_SQL)["sources"])


def _render_reject_filter(warehouse: Session) -> str:
    """The filter for rejects without a row in the tables; older snapshots keep no rows of unreadable objects."""
    has_kept = "kept_etag" in warehouse.con.sql(f"from {store.ALIAS}.ops.rejects").columns
    return "kept_etag is null" if has_kept else "true"


def _count_tables(warehouse: Session, newest: int) -> dict[str, int]:
    """Count the rows of each table at the snapshot; of the register of manifests and the log of access, which are never
    published, today."""
    sql = sql_files.read_statements(_SQL)
    there = {row["name"] for row in _fetch_rows(warehouse, sql["tables"])}
    versions = {"ops.manifests": newest, "access.events": newest}
    # In one statement: each would ask the catalogue anew for the snapshot and its tables.
    counts = [
        sql_files.fill(
            sql["rows"],
            name=sql_files.literal(table.name),
            table=table.name,
            version=str(versions.get(table.name, warehouse.snapshot.number)),
        )
        for table in columns.list_tables()
        if table.name in there
    ]
    return {row["name"]: row["n_rows"] for row in _fetch_rows(warehouse, "\nunion all\n".join(counts))}


def _count_as_of(warehouse: Session, images: int) -> dict[str, Any]:
    latest = {
        row["patient_id"]: row["day"] for row in _fetch_rows(warehouse, sql_files.read_statements(_SQL)["latest"])
    }
    digest = hashlib.sha256(json.dumps(latest, sort_keys=True).encode()).hexdigest()
    return {"patients": len(latest), "images": images, "latest_digest": digest}


def _fetch_rows(warehouse: Session, query: str) -> list[dict[str, Any]]:
    return fetch_dicts(warehouse.con.execute(query))


def _fetch_row(warehouse: Session, query: str) -> dict[str, Any]:
    return _fetch_rows(warehouse, query)[0]
