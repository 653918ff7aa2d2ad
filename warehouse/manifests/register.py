"""The register of manifests in the lake: who exported what and when, and whether the cohort's answer has changed."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.engine import limits
from warehouse.engine.sql_files import identifier
from warehouse.errors import LakeError, ManifestError, WarehouseError
from warehouse.lake import connection, location, store
from warehouse.manifests.manifest import Manifest
from warehouse.manifests.rows import collect_rows
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from warehouse.query.session import Session


#: Few tries: registering a manifest must not wait long for a lock on the catalogue.
_TRIES = 2


def record(manifest: Manifest, place: location.Location, settings: Settings | None = None) -> str:
    """Register a manifest in the lake; returns "" or the reason why that failed.

    ManifestError if maintenance has expired the snapshot of the manifest in the meantime.
    """
    values = _collect_values(manifest)
    names = ", ".join(map(identifier, values))
    marks = ", ".join(f"${name}" for name in values)
    try:
        with store.open_writer(place, settings or load_settings(), make=False) as con:
            _require_snapshot(con, manifest)
            store.transact(
                con,
                f"manifest {manifest.name}",
                lambda: con.execute(f"insert into ops.manifests ({names}) values ({marks})", values),
                tries=_TRIES,
                manifest=manifest.digest,
            )
    except (LakeError, duckdb.Error) as error:
        _require_still_there(manifest, place, settings or load_settings())
        return str(error).split("\n", maxsplit=1)[0]
    return ""


def _require_snapshot(con: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
    number = int(manifest.about["snapshot"])
    if number not in {snapshot.number for snapshot in store.list_snapshots(con)}:
        raise ManifestError(
            f"Snapshot {number} of the manifest {manifest.name} no longer exists: maintenance has expired it, so the "
            "manifest cannot be reproduced. Remove it, and export it again."
        )


def _require_still_there(manifest: Manifest, place: location.Location, settings: Settings) -> None:
    """The same for a lake that could not be written; passes if it cannot be read either."""
    with (
        contextlib.suppress(LakeError, duckdb.Error),
        contextlib.closing(connection.connect(settings, place)) as con,
    ):
        connection.attach(con, place, "read_only")
        _require_snapshot(con, manifest)


def _collect_values(manifest: Manifest) -> dict[str, Any]:
    about, cohort = manifest.about, manifest.about["cohort"]
    counts = about["counts"]
    return {
        "created_at": about["created_at"],
        "created_by": about["created_by"],
        "cohort": cohort["name"],
        "digest": manifest.digest,
        "snapshot": about["snapshot"],
        "as_of": about["as_of"],
        "group_name": about["group"],
        "parameters": json.dumps(cohort["parameters"], ensure_ascii=False),
        "sql": cohort["sql"],
        "kinds": about["objects"],
        **{f"n_{name}": counts[name] for name in ("rows", "patients", "studies", "series", "images", "objects")},
        "bytes": counts["bytes"],
        "tool_version": about["tool"]["version"],
        "seal": manifest.seal,
        "csv_sha256": about["files"]["manifest.csv"]["sha256"],
        "snapshot_time": about["snapshot_time"],
    }


def list_entries(lake_address: str = "", settings: Settings | None = None) -> list[dict[str, Any]]:
    """List the entries of the register, newest first, regardless of what is published."""
    settings = settings or load_settings()
    place = location.parse_address(lake_address or settings.lake)
    if not store.exists(place):
        raise LakeError(f"There is no lake at {place.name}. Create one:  chest refresh BUCKET --lake {place.name}")
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        there = "select 1 from duckdb_tables() where schema_name = 'ops' and table_name = 'manifests'"
        if not con.execute(there).fetchone():
            return []
        rows = con.execute("from ops.manifests order by created_at desc, digest").to_arrow_table().to_pylist()
    return [{**row, "parameters": json.loads(row["parameters"] or "{}")} for row in rows]


def find_state(entry: dict[str, Any], newest: Session) -> str:
    """Return `same`, `changed` if the cohort's answer on the newest snapshot differs, or why it cannot run.

    The registered SQL is untrusted: it runs in the sandbox, with its time limit.
    """
    if entry["snapshot"] == newest.snapshot.number:
        return "same"
    from warehouse.cohorts import answer, parsing

    asked = newest.group(entry["group_name"])
    asked = asked.as_of(entry["as_of"]) if entry["as_of"] else asked
    try:
        with limits.limit_resources(newest.settings):
            known = parsing.parse(entry["sql"], f"{entry['cohort']}.sql")
            with contextlib.closing(
                collect_rows(answer.CohortAnswer.ask(asked, known, entry["parameters"]), tuple(entry["kinds"]))
            ) as rows:
                return "same" if rows.digest == entry["digest"] else "changed"
    except WarehouseError as error:
        return f"can no longer run: {error}"
