"""Whether a manifest is one that a lake exported: its seal, or at least its rows, are in the lake's register.

A seal in the folder shows that nothing was altered by chance or in part. Whoever makes the folder anew makes a seal
anew: only one that is known from elsewhere, as from the register, shows that the manifest is the one that was exported.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from warehouse.manifests import register
from warehouse.manifests.document import to_utc
from warehouse.manifests.manifest import Manifest
from warehouse.settings import Settings


class Standing(StrEnum):
    """The entry of a manifest in a lake's register."""

    REGISTERED = "registered"  # the lake exported this very manifest
    SAME_ROWS = "same rows registered"  # the lake exported its rows to the byte, and its SQL, in another manifest
    OTHER_ROWS = "other rows registered"  # what the lake exported under this digest points elsewhere
    UNKNOWN = "not registered"


def find_standing(manifest: Manifest, lake_address: str, settings: Settings | None = None) -> Standing:
    """Look a manifest up in a lake's register; LakeError where the lake cannot be read."""
    entries = register.list_entries(lake_address, settings)
    if manifest.seal and any(entry.get("seal") == manifest.seal for entry in entries):
        return Standing.REGISTERED
    about = manifest.about
    meant = {name: about[name] for name in ("digest", "snapshot", "snapshot_time")}
    alike = [
        entry
        for entry in entries
        if entry.get("csv_sha256") and all(_to_plain(entry[name]) == value for name, value in meant.items())
    ]
    csv, sql = about["files"]["manifest.csv"]["sha256"], about["cohort"]["sql"]
    if any(entry["csv_sha256"] == csv and entry["sql"] == sql for entry in alike):
        return Standing.SAME_ROWS
    if alike and all(entry["csv_sha256"] != csv for entry in alike):
        return Standing.OTHER_ROWS
    return Standing.UNKNOWN


def _to_plain(value: object) -> object:
    return to_utc(value) if isinstance(value, datetime) else value
