"""Where an answer is from: what Parquet files carry in their key-value metadata."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.query.session import Session


def describe_origin(session: Session, digest: str | None = None) -> dict[str, str]:
    """The snapshot and its time (UTC), the group, the version of the tool; the as-of day and digest if there are any.

    Nothing in it depends on when or where it is asked, so that the same answer is written as the same bytes.
    """
    time = session.snapshot.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    found = {
        "chest.snapshot": str(session.snapshot.number),
        "chest.snapshot_time": time,
        "chest.group": session.group_name,
        "chest.version": __version__,
    }
    if session.day:
        found["chest.as_of"] = str(session.day)
    if digest:
        found["chest.digest"] = digest
    return found


def render_metadata(origin: Mapping[str, str]) -> str:
    """The same as the value of KV_METADATA in a COPY."""
    pairs = ", ".join(f"{sql_files.literal(name)}: {sql_files.literal(value)}" for name, value in origin.items())
    return f"{{{pairs}}}"
