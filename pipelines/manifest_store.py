"""Stores the manifests of scheduled cohorts: a folder per cohort, in it one per snapshot, each once."""

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path

from warehouse.api import Warehouse
from warehouse.errors import LakeError, WarehouseError
from warehouse.manifests import register
from warehouse.manifests.export import export_manifest
from warehouse.manifests.manifest import Manifest, read_manifest
from warehouse.manifests.rows import collect_rows
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """The newest manifest of a cohort, and whether it was written just now."""

    manifest: Manifest
    is_new: bool


def store_manifest(reader: Warehouse, name: str, place: Path, settings: Settings) -> StoredManifest:
    """Export a cohort's manifest, unless the newest stored one is the same; recorded in the lake in either case.

    Raises LakeError when it cannot be recorded: maintenance keeps the snapshots of recorded manifests alone.
    """
    shelf, snapshot = place / name, reader.snapshot.number
    cohort = reader.cohort(name)
    with contextlib.closing(collect_rows(cohort)) as rows:
        digest = rows.digest
    newest = _find_newest(shelf)
    if newest and newest.digest == digest:
        found, is_new = newest, False
    else:
        folder = shelf / str(snapshot)
        if folder.exists():  # the same snapshot, asked by another text of the cohort
            names = (f"{snapshot}-{number}" for number in itertools.count(2))  # not the digest: pages show the path
            folder = next(shelf / name for name in names if not (shelf / name).exists())
        found, is_new = export_manifest(cohort, folder, warn=lambda _: None), True
    known = {(entry["digest"], entry["snapshot"]) for entry in register.list_entries(reader.location.name, settings)}
    if (found.digest, found.about["snapshot"]) not in known and (
        refusal := register.record(found, reader.location, settings)
    ):
        raise LakeError(f"The manifest of {name} was written but could not be recorded in the lake. {refusal}")
    return StoredManifest(found, is_new)


def _find_newest(shelf: Path) -> Manifest | None:
    """The manifest of the newest snapshot; of one snapshot, the one made last."""
    found: list[Manifest] = []
    for folder in shelf.glob("[0-9]*"):
        with contextlib.suppress(WarehouseError):
            found.append(read_manifest(folder))
    return max(found, key=lambda m: (m.about["snapshot"], m.about["created_at"]), default=None)
