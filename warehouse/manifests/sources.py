"""Which buckets a manifest may be looked for in: those of the lake, and those that the reader names.

A manifest says where its objects lie, and may be a stranger's: nothing is listed or fetched because it says so.
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
    """Where to look for the objects of each source of a manifest.

    `given` is a bucket, or several: a source of the manifest itself, `OLD=NEW` for a source and the bucket that stands
    in for it, or, where there is one source, the bucket that stands in. A source that is not given must be one of the
    lake's. UsageError names the source and what to say.
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
                f"--source {text}: {manifest.folder} has {len(homes)} sources, and this is none of them. They are "
                f"{_format_sources(homes)}. Name one, or say what stands in for it:  --source SOURCE=BUCKET"
            )
        if home in found:
            raise UsageError(f"--source {text}: what stands for {escape_for_message(home)} was given already.")
        found[home] = place
    return found


def _read_one(homes: Sequence[str], text: str) -> tuple[str, str]:
    """The source that is meant and the bucket to look in; "" for none."""
    if normalize_source(text) in homes:
        return normalize_source(text), normalize_source(text)
    at = text.find("=")
    while at > 0:
        if normalize_source(text[:at]) in homes and text[at + 1 :]:
            return normalize_source(text[:at]), text[at + 1 :]
        at = text.find("=", at + 1)
    return (homes[0], text) if len(homes) == 1 else ("", "")


def normalize_source(text: str) -> str:
    """A bucket as a manifest names it: s3://NAME[/PREFIX], or the whole path of a folder."""
    if text.startswith("s3://"):
        return text.rstrip("/")
    return os.path.abspath(Path(text).expanduser())  # noqa: PTH100 - no links are resolved


def _find_known_sources(place: location.Location, settings: Settings) -> set[str]:
    """The sources of the lake as it is now; none where there is no lake."""
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
        f"If you know where the manifest comes from, name it:  {flags}   "
        "For a bucket that stands in for it:  --source BUCKET"
    )


def _format_sources(sources: Sequence[str]) -> str:
    return ", ".join(escape_for_message(source) for source in sources[:5]) + (" …" if len(sources) > 5 else "")
