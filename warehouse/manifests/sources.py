"""Decides which buckets may be read for a manifest: those of the lake, and those that the user names.

A manifest states the location of its objects but may be untrusted: nothing is listed or fetched on its word alone.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.lake import connection, location
from warehouse.manifests.document import escape_for_message
from warehouse.manifests.manifest import Manifest
from warehouse.settings import Settings


def resolve_sources(
    manifest: Manifest,
    homes: Sequence[str],
    given: str | Sequence[str],
    lake_address: str,
    settings: Settings,
) -> dict[str, str]:
    """Return the bucket to read for each source of a manifest.

    `given` is one bucket or several: a source of the manifest itself, `OLD=NEW` for a source and its replacement, or,
    if there is one source, its replacement. A source that is not given must be one of the lake's. UsageError names the
    source and the option to give.
    """
    found = _read_given(manifest, homes, ([given] if given else []) if isinstance(given, str) else given)
    left = {home for home in homes if home not in found} - manifest.home
    if left:
        place = location.parse_address(lake_address or settings.lake)
        if strange := sorted(left - _find_known_sources(place, settings)):
            raise UsageError(_explain_unknown(manifest, strange, place))
    return {home: found.get(home, home) for home in homes}


def _read_given(manifest: Manifest, homes: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given if homes else ():
        home, place = _read_one(homes, text)
        if not home:
            raise UsageError(
                f"--source {text}: {manifest.folder} has {len(homes)} sources, and this is not one of them. They are "
                f"{_format_sources(homes)}. Name one, or give a replacement:  --source SOURCE=BUCKET"
            )
        if home in found:
            raise UsageError(f"--source {text}: {escape_for_message(home)} was already given. Give it once.")
        found[home] = place
    return found


def _read_one(homes: Sequence[str], text: str) -> tuple[str, str]:
    """Return the source and the bucket to read for it; "" if no source matches."""
    if normalize_source(text) in homes:
        return normalize_source(text), normalize_source(text)
    at = text.find("=")
    while at > 0:
        if normalize_source(text[:at]) in homes and text[at + 1 :]:
            return normalize_source(text[:at]), text[at + 1 :]
        at = text.find("=", at + 1)
    return (homes[0], text) if len(homes) == 1 else ("", "")


def normalize_source(text: str) -> str:
    """Normalize a bucket as in manifests: s3://NAME[/PREFIX], or the absolute path of a folder."""
    if text.startswith("s3://"):
        return text.rstrip("/")
    return os.path.abspath(Path(text).expanduser())  # noqa: PTH100 - no links are resolved


def _find_known_sources(place: location.Location, settings: Settings) -> set[str]:
    """Return the current sources of the lake, empty if there is no lake."""
    from warehouse.lake import store

    if not store.exists(place):
        return set()
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        sql = sql_files.read_statements("manifests/sources.sql")
        if not con.execute(sql["is_made"]).fetchall():
            return set()
        return {source for (source,) in con.execute(sql["sources"]).fetchall()}


def _explain_unknown(manifest: Manifest, strange: Sequence[str], place: location.Location) -> str:
    flags = " ".join(f"--source {shlex.quote(escape_for_message(home))}" for home in strange[:5])
    return (
        f"{manifest.folder} points to {_format_sources(strange)}, which the lake {place.name} does not have. "
        f"If you trust the origin of the manifest, give:  {flags}   "
        "To read a replacement:  --source BUCKET"
    )


def _format_sources(sources: Sequence[str]) -> str:
    return ", ".join(escape_for_message(source) for source in sources[:5]) + (" …" if len(sources) > 5 else "")
