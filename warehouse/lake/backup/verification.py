"""Verifies a backup: every byte against its checksums, every file against its catalogue, and that it opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from warehouse.engine.faults import explain_faults
from warehouse.errors import DamagedError, UsageError, WarehouseError
from warehouse.filesystem import below
from warehouse.lake import store
from warehouse.lake.backup.contents import (
    DATA,
    MARK,
    Content,
    compute_digest,
    find_odd_entry,
    read_checksums,
    read_contents,
    read_written,
)
from warehouse.lake.location import CATALOGUE, parse_address
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Verified:
    """What a backup holds, and each fault of it as a line that names the file."""

    folder: str
    snapshot: int | None
    files: int
    bytes: int
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the backup is whole."""
        return not self.faults


@explain_faults()
def verify(folder: str | Path, *, settings: Settings | None = None, progress: Progress = ignore_progress) -> Verified:
    """Compare every byte of a backup with its checksums and its catalogue; then open it as a lake.

    Raises UsageError if the folder is not a backup.
    """
    target = Path(folder).expanduser().absolute()
    if not (target / MARK).exists():
        raise UsageError(f"{target} is not a backup: {MARK} is missing. Make one:  chest backup {target}")
    try:
        content = read_contents(target / CATALOGUE)
    except DamagedError as error:
        return Verified(str(target), None, 0, 0, (str(error),))
    if odd := find_odd_entry(target):
        return Verified(str(target), content.published, len(content.files), sum(content.files.values()), (odd,))
    known = read_checksums(target)
    settings = settings or load_settings()
    written = _read_written(target, settings)
    faults = [] if content.is_sound and known.get(CATALOGUE) == content.sha256 else [f"{CATALOGUE} was changed."]
    for done, (path, size) in enumerate(content.files.items(), 1):
        faults += _find_faults(target, path, size, known, written)
        progress("verifying", done, len(content.files))
    if not faults:
        faults += _find_opening_errors(target, settings, content)
    return Verified(str(target), content.published, len(content.files), sum(content.files.values()), tuple(faults))


def _read_written(target: Path, settings: Settings) -> dict[str, str]:
    """The checksums with which the lake's files were written; empty if the backup does not open."""
    try:
        return read_written(target / CATALOGUE, f"{target / DATA}/", settings)
    except WarehouseError:
        return {}


def _find_faults(target: Path, path: str, size: int, known: dict[str, str], written: dict[str, str]) -> list[str]:
    name = DATA + path
    found = below.find_size(target / name)
    if found is None:
        return [f"{name} is missing."]
    if found != size:
        return [f"{name} has {found:,} bytes instead of {size:,}."]
    digest = compute_digest(target, name)
    if known.get(name) != digest:
        return [f"{name} was changed: its checksum differs."]
    if written.get(path, digest) != digest:
        return [f"{name} was copied from a damaged lake: it is not what was written. Examine that:  chest doctor"]
    return []


def _find_opening_errors(target: Path, settings: Settings, content: Content) -> list[str]:
    """Why the backup does not open as a lake."""
    if content.published is None:
        return []
    try:
        store.open_reader(parse_address(str(target)), settings)[0].close()
    except WarehouseError as error:
        return [str(error)]
    return []
