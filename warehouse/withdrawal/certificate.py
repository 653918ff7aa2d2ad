"""The certificate of a purge: what was removed, when, from which files and snapshots, and what was found afterwards.

It holds no identifier of a patient but the keyed digest, so that it may be shown to anybody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files
from warehouse.engine.rows import fetch_first
from warehouse.lake.transactions import get_author
from warehouse.version import __version__

if TYPE_CHECKING:
    import duckdb

    from warehouse.lake.location import Location
    from warehouse.withdrawal.proof import Proof
    from warehouse.withdrawal.purge import Purge
    from warehouse.withdrawal.rewriting import Written
    from warehouse.withdrawal.stored import DataFile

FORMAT = "chest-purge-certificate/1"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A data file that was written anew: the table, the snapshots that need it, rows removed, and both hashes."""

    table: str
    old_file: str
    old_sha256: str
    new_file: str | None
    new_sha256: str | None
    rows_removed: int
    rows_left: int
    first_snapshot: int
    before_snapshot: int | None

    @classmethod
    def of(
        cls, con: duckdb.DuckDBPyConnection, place: Location, file: DataFile, new: Written, removed: int
    ) -> FileChange:
        """Describe a change; both files are there."""
        return cls(
            file.table_name,
            file.path.removeprefix(place.data_path),
            _compute_sha256(con, file.path),
            new.path.removeprefix(place.data_path) if new.n_rows else None,
            _compute_sha256(con, new.path) if new.n_rows else None,
            removed,
            new.n_rows,
            file.begin_snapshot,
            file.end_snapshot,
        )


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as a document; `digest` is the SHA-256 over its canonical JSON."""

    document: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether nothing of the patients was found afterwards."""
        return not self.document["findings"]

    @property
    def canonical(self) -> str:
        """The document as canonical JSON."""
        return json.dumps(self.document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits."""
        return f"sha256:{hashlib.sha256(self.canonical.encode()).hexdigest()}"

    def render_text(self) -> str:
        """The certificate for people."""
        return "".join(f"{line}\n" for line in _render_lines(self.document, self.digest))


def build_certificate(place: Location, done: Purge, found: Proof) -> Certificate:
    """Put together what a purge did and what the search found."""
    document = {
        "format": FORMAT,
        "lake": place.name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": get_author(),
        "tool": f"chest {__version__}",
        "patients": sorted(done.digests),
        "rows_removed": dict(sorted(done.n_rows.items())),
        "texts_redacted": {"rows": done.n_mentions, "catalogue": done.n_texts},
        "snapshots": sorted(done.snapshots),
        "files": [asdict(change) for change in done.changes],
        "files_removed": len(done.removed.files),
        "versions": asdict(done.removed.versions) if done.removed.versions else None,
        "objects_in_buckets": [
            {"source": one.source, "kind": one.kind, "objects": one.n_objects, "bytes": one.bytes}
            for one in sorted(done.withheld, key=lambda one: (one.source, one.kind))
        ],
        "searched": {"files": found.files, "bytes": found.bytes, "catalogues": found.catalogues, "by": found.by},
        "backups": [{"folder": folder, "renewed": not why, "problem": why} for folder, why in found.backups],
        "findings": found.findings,
    }
    return Certificate(document)


def _compute_sha256(con: duckdb.DuckDBPyConnection, path: str) -> str:
    query = sql_files.read_statements("withdrawal/proof.sql")["sha256"]
    row = fetch_first(con.execute(sql_files.fill(query, path=sql_files.literal(path))))
    return str(row[0]) if row else ""


def _render_lines(document: dict[str, Any], digest: str) -> Iterator[str]:
    found = document["findings"]
    yield "CERTIFICATE OF A PURGE" if not found else "PURGE NOT PROVEN: something was found afterwards"
    yield f"lake       {document['lake']}"
    yield f"when       {document['at']}, by {document['by']}, {document['tool']}"
    for patient in document["patients"]:
        yield f"patient    {patient}"
    removed = ", ".join(f"{rows:,} of {table}" for table, rows in document["rows_removed"].items() if rows)
    yield f"rows       {removed or 'none were left'}"
    texts = document["texts_redacted"]
    yield f"texts      {texts['rows']:,} rows of others and {texts['catalogue']:,} entries of the catalogue named them"
    yield f"snapshots  {', '.join(map(str, document['snapshots'])) or 'none had rows of theirs'}"
    for change in document["files"]:
        yield f"file       {change['table']}: {change['old_file']} ({change['old_sha256']})"
        new = f"{change['new_file']} ({change['new_sha256']})" if change["new_file"] else "nothing: all its rows"
        yield f"       →   {new}, rows removed: {change['rows_removed']:,}"
    searched = document["searched"]
    yield (
        f"searched   files: {searched['files']:,}, bytes: {searched['bytes']:,}, catalogues: "
        f"{len(searched['catalogues']):,}, by {', '.join(searched['by'])}"
    )
    yield from _render_versions(document["versions"])
    for backup in document["backups"]:
        state = "renewed" if backup["renewed"] else f"NOT renewed, {backup['problem']}"
        yield f"backup     {backup['folder']}: {state}"
    for one in found:
        yield f"FOUND      {one}"
    yield from _render_objects(document["objects_in_buckets"])
    yield f"digest     {digest}"


def _render_versions(versions: dict[str, Any] | None) -> Iterator[str]:
    if not versions:
        return
    yield (
        f"versions   earlier versions removed: {versions['removed']:,}, unfinished uploads: {versions['uploads']:,}, "
        f"left: {versions['left']:,}"
    )
    if versions["unknown"]:
        yield f"           Whether the bucket keeps others is not known ({versions['unknown']}): ask whoever runs it."


def _render_objects(objects: list[dict[str, Any]]) -> Iterator[str]:
    if not objects:
        yield "bucket     no object of theirs was known"
        return
    for one in objects:
        yield f"bucket     {one['source']}: objects of kind {one['kind']}: {one['objects']:,} ({one['bytes']:,} bytes)"
    yield "           These are the sender's, and remain: delete them there, with all versions of a versioned bucket."
