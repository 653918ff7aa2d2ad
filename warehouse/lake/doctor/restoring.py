"""Puts back from a backup what a lake has lost: single files, which never change, or the whole catalogue."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from warehouse.errors import LakeError, UsageError
from warehouse.filesystem import files
from warehouse.lake import data_path
from warehouse.lake.backup.contents import DATA, MARK, Content, compute_digest, read_checksums, read_contents
from warehouse.lake.doctor.findings import ASIDE, Finding
from warehouse.lake.location import CATALOGUE, Location

_CHUNK = 1 << 20


def require_backup(folder: Path) -> Path:
    """The folder of a backup; UsageError if it is none."""
    folder = folder.expanduser().absolute()
    if not (folder / MARK).exists():
        raise UsageError(f"{folder} is not a backup: {MARK} is missing. Give the folder of a  chest backup.")
    return folder


def put_back(location: Location, backup: Path, findings: Sequence[Finding]) -> list[str]:
    """Replace lost files of the lake by the backup's copies, as far as those are what was written; returns their paths.

    The backup's own checksums decide: it was compared with the lake's when it was made.
    """
    if "://" in location.data_path:
        return []
    known = read_checksums(backup)
    done = []
    for found in findings:
        if found.file is None or not (digest := known.get(DATA + found.file.path)):
            continue
        source, target = backup / DATA / found.file.path, Path(location.data_path) / found.file.path
        with contextlib.suppress(FileNotFoundError):
            if source.stat().st_size == found.file.size and compute_digest(source) == digest:
                _copy(source, target, Path(location.data_path))
                done.append(found.file.path)
    return done


def _copy(source: Path, target: Path, root: Path) -> None:
    files.make_folder(target.parent, below=root)
    with source.open("rb") as given, files.write_atomically(target, may_stream=False) as taken:
        while chunk := given.read(_CHUNK):
            taken.write(chunk)


def restore_catalogue(location: Location, backup: Path) -> Content:
    """Replace a damaged catalogue by that of a backup, and put back the files that only the backup has.

    Returns what the catalogue lists. The damaged one is kept beside it. LakeError if the backup is of another lake, or
    damaged itself.
    """
    if location.folder is None:
        raise UsageError(f"{location.name}: the catalogue is in PostgreSQL. Restore it with pg_restore.")
    with files.make_part_folder(location.folder) as part:
        content = read_contents(backup / CATALOGUE, part / CATALOGUE)
        if not content.is_sound:
            raise LakeError(f"The catalogue of the backup {backup} is damaged too. Name an older backup.")
        _require_same_lake(location, content, backup)
        for name, size in content.files.items():
            target = Path(location.data_path) / name
            if not target.exists() or target.stat().st_size != size:
                _copy_whole(backup, name, target, Path(location.data_path))
        _keep_damaged(location.catalogue)
        files.place_file(part / CATALOGUE, location.catalogue)
    (Path(location.data_path) / data_path.MARK).unlink(missing_ok=True)  # it names a newer snapshot; written again
    return content


def _copy_whole(backup: Path, name: str, target: Path, root: Path) -> None:
    try:
        _copy(backup / DATA / name, target, root)
    except FileNotFoundError:
        raise LakeError(f"The backup {backup} is incomplete: {DATA}{name} is missing. Name an older backup.") from None


def _require_same_lake(location: Location, content: Content, backup: Path) -> None:
    mark = data_path.read_mark_of_folder(location.data_path)
    if mark and mark[0] != content.identity:
        raise LakeError(f"{backup} is the backup of another lake than {location.name}. Name one of this lake.")


def _keep_damaged(catalogue: Path) -> None:
    """Move a damaged catalogue aside, with what SQLite would otherwise apply to the restored one."""
    for ending in ("", "-journal", "-wal", "-shm"):
        path = catalogue.with_name(f"{catalogue.name}{ending}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.name}{ASIDE}"))
