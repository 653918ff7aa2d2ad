"""The register of manifests in the lake: who exported what and when, and whether the cohort's answer has changed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.engine import limits
from warehouse.engine.faults import explain_faults
from warehouse.engine.json_values import parse_json
from warehouse.engine.messages import EXAMINE, first_line
from warehouse.engine.placeholders import refuse_placeholders
from warehouse.engine.rows import fetch_first
from warehouse.engine.sql_files import identifier
from warehouse.errors import LakeBusyError, LakeError, ManifestError, WarehouseError
from warehouse.filesystem import files
from warehouse.lake import connection, location, store, waiting
from warehouse.manifests import past
from warehouse.manifests.manifest import Manifest
from warehouse.manifests.rows import collect_rows
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from warehouse.query.session import Session


def record(manifest: Manifest, place: location.Location, settings: Settings | None = None) -> str:
    """Record an existing manifest; returns and raises what `hold_record` does."""
    with hold_record(manifest, place, settings) as refusal:
        return refusal


@contextlib.contextmanager
def hold_record(
    manifest: Manifest, place: location.Location, settings: Settings | None = None, target: Path | None = None
) -> Iterator[str]:
    """Record a manifest in the lake, which keeps its snapshot from then on, and hold the writer's lock for the block.

    Nobody else can finish a manifest in the meantime, and maintenance cannot expire the snapshot before it is recorded.
    Yields "" if it was recorded, or the reason if the lake is readable only. ManifestError if the snapshot no longer
    exists, LakeBusyError if another process writes longer than waiting.SECONDS, LakeError for any other obstacle,
    UsageError if `target`, the folder of the manifest, exists by now.
    """
    settings = settings or load_settings()
    with contextlib.ExitStack() as held:
        try:
            con = held.enter_context(waiting.open_writer(place, settings))
            if target:
                files.require_vacant(target)
            _require_snapshot(con, manifest)
            _insert(con, manifest, place, settings)
            refusal = ""
        except (LakeError, duckdb.Error) as error:
            refusal = first_line(error)
            if not waiting.is_right_missing(refusal):
                raise _failed(error, refusal) from None
            _require_still_there(manifest, place, settings)
        yield refusal


def _insert(con: duckdb.DuckDBPyConnection, manifest: Manifest, place: location.Location, settings: Settings) -> None:
    patients = past.describe_patients(con, place, manifest, settings)
    values = _collect_values(manifest)
    names = ", ".join(map(identifier, values))
    marks = ", ".join(f"${name}" for name in values)
    refuse_placeholders("The manifest", *values.values())

    def work() -> None:
        con.execute(f"insert into ops.manifests ({names}) values ({marks})", values)
        past.insert_patients(con, patients)

    store.transact(con, f"manifest {manifest.name}", work, manifest=manifest.digest)


def _failed(error: Exception, reason: str) -> LakeError:
    kind = LakeBusyError if isinstance(error, LakeBusyError) else LakeError
    return kind(
        "The manifest cannot be recorded in the lake, and maintenance keeps only what is recorded: "
        f"{reason.rstrip('.')}."
    )


def _require_snapshot(con: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
    number = int(manifest.about["snapshot"])
    if number not in {snapshot.number for snapshot in store.list_snapshots(con)}:
        raise ManifestError(
            f"Snapshot {number}, which the manifest {manifest.name} was made from, no longer exists: maintenance has "
            "expired it. The manifest cannot be reproduced. Export it again from an existing snapshot."
        )


def _require_still_there(manifest: Manifest, place: location.Location, settings: Settings) -> None:
    """The same for a lake that is readable only."""
    with contextlib.closing(connection.connect(settings, place)) as con:
        try:
            connection.attach(con, place, "read_only")
            _require_snapshot(con, manifest)
        except duckdb.Error as error:
            raise _failed(error, first_line(error)) from None


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
        "split": json.dumps(about["split"], ensure_ascii=False) if "split" in about else None,
        "sql": cohort["sql"],
        "kinds": about["objects"],
        **{f"n_{name}": counts[name] for name in ("rows", "patients", "studies", "series", "images", "objects")},
        "bytes": counts["bytes"],
        "tool_version": about["tool"]["version"],
        "seal": manifest.seal,
        "csv_sha256": about["files"]["manifest.csv"]["sha256"],
        "snapshot_time": about["snapshot_time"],
        "tables": json.dumps(about.get("tables", []), ensure_ascii=False),
        "image_columns": about.get("columns"),
        "access_head": about.get("access", {}).get("head"),
    }


@explain_faults()
def list_entries(lake_address: str = "", settings: Settings | None = None) -> list[dict[str, Any]]:
    """List the entries of the register, newest first, regardless of what is published."""
    settings = settings or load_settings()
    place = location.parse_address(lake_address or settings.lake)
    if not store.exists(place):
        raise LakeError(f"There is no lake at {place.name}. Create one:  chest refresh BUCKET --lake {place.name}")
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        there = "select 1 from duckdb_tables() where schema_name = 'ops' and table_name = 'manifests'"
        if not fetch_first(con.execute(there)):
            return []
        rows = con.execute("from ops.manifests order by created_at desc, digest").to_arrow_table().to_pylist()
    try:
        return [
            {
                **row,
                "parameters": parse_json(row["parameters"] or "{}"),
                "split": parse_json(row.get("split") or "null"),
                "tables": parse_json(row.get("tables") or "[]"),
            }
            for row in rows
        ]
    except ValueError as error:
        raise LakeError(
            f"The register of manifests of {place.name} has JSON that cannot be read: {error}. {EXAMINE}"
        ) from None


#: What its author wrote into a manifest, which may name patients.
_OF_AUTHOR = ("parameters", "sql", "split", "tables")


def hide_texts(lake_address: str, entries: list[dict[str, Any]], settings: Settings | None = None) -> None:
    """Leave out of entries what their authors wrote, and names of cohorts that have a pseudonym, where a lake enforces
    agreements: they may name patients, and beside a name numbers are a fact about whom it names."""
    from warehouse.access import log
    from warehouse.access.naming import mask_names
    from warehouse.access.switch import is_enforced

    settings = settings or load_settings()
    place = location.parse_address(lake_address or settings.lake)
    if not is_enforced(log.read_events(place, settings)):
        return
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        for entry in entries:
            entry |= {**dict.fromkeys(_OF_AUTHOR), **mask_names(con, place, {"cohort": entry["cohort"]})}


def find_state(entry: dict[str, Any], newest: Session, *, is_shown: bool = True) -> str:
    """Return `same`, `changed` if the cohort's answer on the newest snapshot differs, or why it cannot run; only that
    it cannot, unless its answer may be shown, since an error may quote rows.

    The registered SQL is untrusted: it runs in the sandbox, with its time limit.
    """
    if entry["snapshot"] == newest.snapshot.number and not newest.standing_list:  # of those who have withdrawn since
        return "same"
    if own := ", ".join(table["name"] for table in entry.get("tables", ())):
        return f"needs its tables to run: {own}"
    from warehouse.cohorts import answer, parsing, split

    asked = newest.group(entry["group_name"])
    asked = asked.as_of(entry["as_of"]) if entry["as_of"] else asked
    try:
        with limits.limit_resources(newest.settings):
            known = parsing.parse(entry["sql"], f"{entry['cohort']}.sql")
            found = answer.CohortAnswer.ask(asked, known, entry["parameters"])
            found = found.split(split.Split.from_json(entry["split"])) if entry["split"] else found
            columns = tuple(entry.get("image_columns") or ())
            with contextlib.closing(collect_rows(found, tuple(entry["kinds"]), columns=columns)) as rows:
                return "same" if rows.digest == entry["digest"] else "changed"
    except (WarehouseError, duckdb.Error) as error:
        if not is_shown:
            return "can no longer run"
        if isinstance(error, WarehouseError):
            return f"can no longer run: {error}"
        raise
