"""Looks a manifest up in a lake's register, by its seal or at least its rows.

The seal in a folder only shows that nothing was altered by accident or in part, because anyone who recreates the folder
can recreate the seal. Only a copy of the seal from elsewhere, such as the register, proves the manifest's origin.
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
    SAME_ROWS = "same rows registered"  # the lake exported the same rows and SQL in another manifest
    OTHER_ROWS = "other rows registered"  # the lake exported this digest with other locations
    UNKNOWN = "not registered"


def find_standing(manifest: Manifest, lake_address: str, settings: Settings | None = None) -> Standing:
    """Look a manifest up in a lake's register; LakeError if the lake cannot be read."""
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
