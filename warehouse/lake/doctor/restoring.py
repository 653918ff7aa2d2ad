"""Puts back from a backup what a lake has lost: single files, which never change, or the whole catalogue."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from warehouse.errors import LakeError, UsageError
from warehouse.filesystem import below, files
from warehouse.lake import data_path
from warehouse.lake.backup.contents import (
    DATA,
    MARK,
    SUMS,
    Content,
    compute_digest,
    copy_file,
    is_own_path,
    read_checksums,
    read_contents,
)
from warehouse.lake.doctor.findings import ASIDE, STANDING_LIST, Finding
from warehouse.lake.location import CATALOGUE, Location


def require_backup(folder: Path) -> Path:
    """The folder of a backup; UsageError if it is none."""
    folder = folder.expanduser().absolute()
    if not (folder / MARK).exists():
        raise UsageError(f"{folder} is not a backup: {MARK} is missing. Give the folder of a  chest backup.")
    return folder


def put_back(location: Location, backup: Path, findings: Sequence[Finding]) -> list[str]:
    """Replace lost files of the lake by the backup's copies, as far as those are what was written; returns their paths.

    The backup's own checksums decide: it was compared with the lake's when it was made. Only files of a lake of ours
    are put back, and none where a link leads elsewhere: lake and backup may be somebody else's.
    """
    if "://" in location.data_path or data_path.find_odd_link(location):
        return []
    known = read_checksums(backup)
    done = []
    for found in findings:
        path = found.file.path if found.file else ""
        if found.file is None or not is_own_path(path) or not (digest := known.get(DATA + path)):
            continue
        with contextlib.suppress(FileNotFoundError):
            if _copy(location, backup, path, found.file.size, digest):
                done.append(path)
    return done


def _copy(location: Location, backup: Path, path: str, size: int, digest: str) -> bool:
    """Copy a data file from a backup; false if the backup's is not what its checksums state."""
    root = Path(location.data_path)
    files.make_folder((root / path).parent, below=root)
    return bool(copy_file(backup, DATA + path, root / path, size, digest))


def restore_catalogue(
    location: Location, backup: Path, *, prepare: Callable[[Location], object] | None = None
) -> Content:
    """Replace a damaged catalogue by that of a backup, and put back the files that only the backup has.

    Returns what the catalogue lists. The damaged one is kept beside it. `prepare` gets the lake with the backup's
    catalogue while nobody else can open it, to commit what readers must not be without; if it fails, nothing is
    replaced. LakeError if the backup is of another lake, or damaged itself, or if the data of the lake may be elsewhere
    by a link.
    """
    if location.folder is None:
        raise UsageError(f"{location.name}: the catalogue is in PostgreSQL. Restore it with pg_restore.")
    data_path.require_unlinked(location, "restored")
    with files.make_part_folder(location.folder) as part:
        content = read_contents(backup / CATALOGUE, part / CATALOGUE)
        if not content.is_sound:
            raise LakeError(f"The catalogue of the backup {backup} is damaged too. Name an older backup.")
        _require_same_lake(location, content, backup)
        known = read_checksums(backup)
        for path, size in content.files.items():
            if not _is_there(location, path, size, known.get(DATA + path)):
                _copy_whole(location, backup, path, size, known.get(DATA + path))
        if prepare:
            prepare(replace(location, folder=part))
            content = read_contents(part / CATALOGUE)
        _keep_damaged(location.catalogue)
        files.place_file(part / CATALOGUE, location.catalogue)
    files.make_folder(location.data_path)
    data_path.write_mark_of_folder(location.data_path, content.identity, content.newest)  # it may name a newer snapshot
    return content


def _is_there(location: Location, path: str, size: int, digest: str | None) -> bool:
    """Whether a file of the lake has this size; one of the standing list this digest too, since it is read at once."""
    root = Path(location.data_path)
    if below.find_size(root / path) != size:
        return False
    return not (digest and path.startswith(STANDING_LIST)) or compute_digest(root, path) == digest


def _copy_whole(location: Location, backup: Path, path: str, size: int, digest: str | None) -> None:
    try:
        if not digest or not _copy(location, backup, path, size, digest):
            raise LakeError(
                f"The backup {backup} is damaged: {DATA}{path} is not what {SUMS} states. Name an older backup."
            )
    except FileNotFoundError:
        raise LakeError(f"The backup {backup} is incomplete: {DATA}{path} is missing. Name an older backup.") from None


def _require_same_lake(location: Location, content: Content, backup: Path) -> None:
    mark = data_path.read_mark_of_folder(location.data_path)
    if mark and mark[0] != content.identity:
        raise LakeError(f"{backup} is the backup of another lake than {location.name}. Name one of this lake.")


def _keep_damaged(catalogue: Path) -> None:
    """Move a damaged catalogue aside, with what SQLite would otherwise apply to the restored one."""
    for ending in ("", "-journal", "-wal", "-shm"):
        path = catalogue.with_name(f"{catalogue.name}{ending}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(_find_free_name(path))


def _find_free_name(path: Path) -> Path:
    """A name to keep a damaged file by, which nothing has: what an earlier repair has kept stays."""
    ends = itertools.chain([""], (f".{number}" for number in itertools.count(2)))
    names = (path.with_name(f"{path.name}{end}{ASIDE}") for end in ends)
    return next(name for name in names if not os.path.lexists(name))
