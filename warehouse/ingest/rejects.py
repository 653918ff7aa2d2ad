"""Rejects unreadable objects: adds them to ops.rejects with the reason, and removes them when they can be read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from warehouse.catalog import columns
from warehouse.engine import sql_files
from warehouse.engine.placeholders import escape_placeholders
from warehouse.engine.rows import fetch_dicts
from warehouse.ingest import reject_reasons
from warehouse.ingest.context import Run
from warehouse.ingest.fetching import Fetched
from warehouse.object_store.base import ReadFailure

if TYPE_CHECKING:
    import pyarrow as pa

_SQL = "ingest/loading.sql"


def reject_oversized(run: Run, step: str, tool: str) -> int:
    """Reject objects too large for the kind that their key states, without fetching them."""
    limit = run.settings.max_object_mb
    found = run.con.execute(sql_files.read_statements(_SQL)["oversized"], {"limit": limit * 1_000_000})
    unread = ReadFailure(f"larger than {limit} MB (CHEST_MAX_OBJECT_MB): not read")
    rejects = [_build_reject(row, unread) for row in fetch_dicts(found)]
    changed = [reject for reject in rejects if reject["old_reason"] != reject["reason"]]
    if changed:
        run.commit(step, lambda: write_rejects(run, changed, [], tool), rejected=len(changed))
    return len(changed)


def collect_rejects(
    unit: Fetched, unread: set[str], failed: dict[str, str], wanted: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Find the new rejects of a unit, and the keys whose earlier reject is out of date.

    `failed` has the reasons of objects that could not be extracted; those of `unread` ones are found from their
    content.
    """
    retried = set(unit.objects.filter(unit.objects.column("was_rejected")).column("key").to_pylist())
    found = []
    for place, key in enumerate(unit.objects.column("key").to_pylist() if unread or failed else ()):
        if key in unread or key in failed:
            row = unit.objects.slice(place, 1).to_pylist()[0]
            reject = _build_reject(row, _find_failure(unit, place, failed.get(key), wanted))
            if row["old_reason"] == reject["reason"]:
                retried.remove(key)
            else:
                found.append(reject)
    return found, sorted(retried)


def _find_failure(unit: Fetched, place: int, failed: str | None, wanted: str) -> ReadFailure:
    if failed:
        return ReadFailure(failed, retry=False)
    content = unit.odd.get(place) or unit.batch.column("content")[place].as_py().encode()
    return (
        content
        if isinstance(content, ReadFailure)
        else ReadFailure(reject_reasons.find_reason(content, wanted), retry=False)
    )


def build_rejects(objects: pa.Table, failures: dict[str, ReadFailure]) -> list[dict[str, Any]]:
    """The rejects of planned objects, by the reasons for their keys."""
    return [_build_reject(row, failures[row["key"]]) for row in objects.to_pylist() if row["key"] in failures]


def _build_reject(row: dict[str, Any], unread: ReadFailure) -> dict[str, Any]:
    # It may quote what a server has answered.
    return {**row, "reason": escape_placeholders(unread.reason), "retry": unread.retry}


def write_rejects(run: Run, rejects: list[dict[str, Any]], retried: list[str], tool: str) -> None:
    """Write rejects; earlier ones of the same objects are removed, or keep the time they were first seen.

    `tool` has the version and rules that tried; others try again.
    """
    import pyarrow as pa

    sql = sql_files.read_statements(_SQL)
    keys = {"source": run.source, "keys": [*retried, *(reject["key"] for reject in rejects)]}
    if not keys["keys"]:
        return
    known = {key: first for key, _, first in run.con.execute(sql["known_rejects"], keys).fetchall()}
    if known:
        run.con.execute(sql["forget_rejects"], keys)
    if rejects:
        now = datetime.now(UTC)
        names = [column.name for column in columns.load_relations()["ops.rejects"].columns]
        rows = [
            {
                **reject,
                "source": run.source,
                "first_seen": known.get(reject["key"], now),
                "last_seen": now,
                "tried_by": tool,
            }
            for reject in rejects
        ]
        run.con.register("rejects_found", pa.table({name: [row[name] for row in rows] for name in names}))
        run.con.execute(sql_files.fill(sql["insert_rejects"], **columns.template_values()))
        run.con.unregister("rejects_found")
