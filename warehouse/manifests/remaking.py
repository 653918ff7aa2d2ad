"""Makes a registered manifest again from its digest: its cohort runs at its snapshot, and must give the same rows."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import CohortAnswer, parsing
from warehouse.cohorts.split import Split
from warehouse.errors import ManifestError, NotFoundError, UsageError
from warehouse.manifests import register
from warehouse.manifests.export import write_files
from warehouse.manifests.manifest import Manifest, open_manifest
from warehouse.manifests.rows import collect_rows

if TYPE_CHECKING:
    from warehouse.query.session import Session

#: The fewest digits of a digest that name a manifest.
_FEWEST = 8


def is_digest(word: str) -> bool:
    """Whether a word is a digest, or the beginning of one, as `chest manifest list` shows it."""
    digits = word.removeprefix("sha256:")
    return len(digits) >= _FEWEST and all(sign in "0123456789abcdef" for sign in digits) and not Path(word).exists()


def find_entry(lake_address: str, digest: str) -> dict[str, Any]:
    """Find a manifest in a lake's register, the newest of its digest; UsageError if several begin with it."""
    digits = digest.removeprefix("sha256:")
    found = [e for e in register.list_entries(lake_address) if e["digest"].removeprefix("sha256:").startswith(digits)]
    if not found:
        raise NotFoundError(f"The lake has no manifest {digest} in its register. List them:  chest manifest list")
    if len({entry["digest"] for entry in found}) > 1:
        raise UsageError(f"{len(found):,} manifests of the register begin with {digest}. Give more digits.")
    return found[0]


def remake_manifest(session: Session, entry: dict[str, Any], folder: Path) -> Manifest:
    """Make a registered manifest again, in a new folder, from a session of its lake at its snapshot.

    ManifestError if its rows differ now: under an agreement, because that does not cover all of them.
    """
    if own := ", ".join(table["name"] for table in entry["tables"]):
        raise UsageError(f"The manifest was made with your own tables ({own}). Give its folder instead of its digest.")
    held = session.as_of(entry["as_of"]) if entry["as_of"] else session
    definition = parsing.parse(entry["sql"], f"{entry['cohort']}.sql")
    answer = CohortAnswer.ask(held.group(entry["group_name"]), definition, entry["parameters"])
    answer = answer.split(Split.from_json(entry["split"])) if entry["split"] else answer
    kinds, columns = tuple(entry["kinds"]), tuple(entry.get("image_columns") or ())
    folder.mkdir()
    with contextlib.closing(collect_rows(answer, kinds, folder, columns)) as rows:
        if rows.digest != entry["digest"]:
            cover = f" as agreement {held.cover.agreement} covers it" if held.cover else ""
            raise ManifestError(f"The rows of manifest {entry['digest'][:19]}… differ in this lake{cover}.")
        write_files(answer, rows, kinds, folder, columns)
    return open_manifest(folder)
