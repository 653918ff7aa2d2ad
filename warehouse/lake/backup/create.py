"""Creates or updates a backup of a lake."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from warehouse.engine.faults import explain_faults
from warehouse.errors import DamagedError, LakeBusyError, LakeError, UsageError
from warehouse.filesystem import below, files, leftovers
from warehouse.lake import data_path, locks, secret, store
from warehouse.lake.backup import known
from warehouse.lake.backup.contents import (
    DATA,
    MARK,
    SUMS,
    Content,
    compute_digest,
    copy_file,
    find_odd_entry,
    is_own_path,
    read_checksums,
    read_contents,
    read_written,
)
from warehouse.lake.location import CATALOGUE, Location, parse_address
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings

#: How many damaged files an error names.
_NAMED = 20
#: How often the backup starts again because of maintenance.
_TRIES = 3

_ABOUT = f"""\
A backup of a lake, made by `chest backup`. It is a lake itself: chest status --lake HERE
Write nothing in here. To restore, copy {CATALOGUE} and {DATA} to a new folder.
To check it: chest backup --verify HERE, or sha256sum --check --quiet {SUMS}
"""


@dataclass(frozen=True, slots=True)
class Backup:
    """The contents of a backup, and what this run did. `snapshot` is the newest published one, if any."""

    folder: str
    snapshot: int | None
    files: int
    bytes: int
    copied: int
    copied_bytes: int
    removed: int


#: The advice about a damaged lake.
_EXAMINE = "Examine it:  chest doctor --lake LAKE"


class _GoneError(Exception):
    """A file that the catalogue lists does not exist (any longer)."""


@explain_faults()
def backup(
    folder: str | Path,
    lake_address: str = "",
    *,
    settings: Settings | None = None,
    progress: Progress = ignore_progress,
) -> Backup:
    """Create or update the backup in `folder`; copies only files that it does not have.

    Raises UsageError for a lake in PostgreSQL and for a folder that is something else, LakeError when a file of the
    lake is missing or damaged or the folder cannot be written, LakeBusyError when another backup writes there.
    """
    settings = settings or load_settings()
    place = parse_address(lake_address or settings.lake)
    target = Path(folder).expanduser().absolute()
    _require_backup_possible(place, target)
    try:
        files.make_folder(target)
        with _hold_lock(target, settings), files.make_part_folder(target) as part:
            _replace(target / MARK, _ABOUT)
            done = _update(place, target, part / CATALOGUE, settings, progress)
        known.remember(place, target)
        return done
    except OSError as error:
        raise LakeError(
            f"The backup {target} cannot be written: {error.strerror} ({error.filename}). The previous backup stays as "
            "it was; name a place with room that this user may write."
        ) from None


def _require_backup_possible(place: Location, target: Path) -> None:
    """Raise an error if this lake cannot be backed up to that folder."""
    if place.folder is None:
        raise UsageError(
            f"{place.name}: the catalogue is in PostgreSQL. Back it up with pg_dump, then copy its data path: "
            "docs/operations.md, Backup."
        )
    if not store.exists(place):
        raise LakeError(f"There is no lake at {place.name}. Check --lake or CHEST_LAKE.")
    there, sources = target.resolve(), (place.folder.resolve(), Path(place.data_path).resolve())
    if any(there.is_relative_to(source) or source.is_relative_to(there) for source in sources):
        raise UsageError(f"{target} and the lake {place.name} overlap. Choose another folder.")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file. Choose a folder.")
    if target.exists() and not _is_backup(target) and any(target.iterdir()):
        raise UsageError(f"{target} is not empty and not a backup (it has no {MARK} of one). Choose another folder.")
    data_path.require_unlinked(place, "backed up")
    if odd := find_odd_entry(target):
        raise UsageError(f"{odd} Remove it, or choose another folder.")


def _is_backup(target: Path) -> bool:
    """Whether a folder is a backup: of one that was interrupted before it had a catalogue, the text says so."""
    if not (target / MARK).exists() or (target / CATALOGUE).exists():
        return (target / MARK).exists()
    with contextlib.suppress(OSError):
        return below.read_small(target, MARK).decode("utf-8", "replace").startswith(_ABOUT.partition(",")[0])
    return False


@contextlib.contextmanager
def _hold_lock(target: Path, settings: Settings) -> Iterator[None]:
    """Hold the lock that another backup, or a refresh of this one, would take."""
    try:
        with locks.hold_lock(parse_address(str(target)), settings):
            yield
    except LakeBusyError:
        raise LakeBusyError(f"Another backup is writing to {target}. Wait until it is done.") from None


def _update(place: Location, target: Path, part: Path, settings: Settings, progress: Progress) -> Backup:
    """Update the backup, with the catalogue last, by way of the private file `part`."""
    old = read_contents(target / CATALOGUE) if (target / CATALOGUE).exists() else None
    gone: Exception | None = None
    for _ in range(_TRIES):
        part.unlink(missing_ok=True)
        content = read_contents(place.catalogue, part)
        _require_continuation(content, old, target)
        _require_own_files(place, content)
        try:
            written = read_written(part, place.data_path, settings)
            key = _read_key(Path(place.data_path))
            digests, copied = _copy_files(content, written, Path(place.data_path), target, progress)
            digests |= _write_key(key, target)
        except _GoneError as error:
            gone = error
            continue
        _replace(target / SUMS, "".join(f"{found}  {name}\n" for name, found in sorted(digests.items())))
        files.place_file(part, target / CATALOGUE)
        return Backup(
            folder=str(target),
            snapshot=content.published,
            files=len(content.files),
            bytes=sum(content.files.values()),
            copied=len(copied),
            copied_bytes=sum(content.files[path] for path in copied),
            removed=_prune(target / DATA, content),
        )
    raise DamagedError(
        f"The lake {place.name} is damaged: its catalogue lists {gone}, which does not exist. {_EXAMINE}"
    )


def _require_continuation(content: Content, old: Content | None, target: Path) -> None:
    """Raise UsageError if the existing backup is of another lake, or newer than this one."""
    if not content.is_sound:
        raise DamagedError(f"The lake's catalogue is damaged. {_EXAMINE}")
    if old and old.identity != content.identity:
        raise UsageError(f"{target} is the backup of another lake. Choose another folder.")
    if old and old.newest > content.newest:
        raise UsageError(
            f"{target} has snapshot {old.newest}, the lake only {content.newest}: the lake was restored "
            "to an earlier state. Keep that backup, and choose another folder."
        )


def _require_own_files(place: Location, content: Content) -> None:
    """Raise LakeError if the data path is a link to the files of another lake."""
    if not Path(place.data_path).is_symlink():
        return
    mark = data_path.read_mark_of_folder(place.data_path)
    if not mark or mark[0] != content.identity:
        raise LakeError(
            f"The lake {place.name} cannot be backed up: {place.data_path} is a link to the files of another lake. "
            "Put its own files in the place of the link."
        )


def _copy_files(
    content: Content, written: dict[str, str], source: Path, target: Path, progress: Progress
) -> tuple[dict[str, str], list[str]]:
    """Copy missing files; returns the checksums of all, and which were copied.

    DamagedError names the files whose copies are not what was written. They are removed, the others stay for the next
    backup, and the previous backup stays as it was.
    """
    known = read_checksums(target)
    digests, copied, damaged = {CATALOGUE: content.sha256}, [], []
    for done, (path, size) in enumerate(content.files.items(), 1):
        name = DATA + path
        there = target / name
        if below.find_size(there) == size:
            # Copied completely by an earlier run that was interrupted before it wrote the checksum.
            digests[name] = known.get(name) or compute_digest(target, name)
        if digests.get(name) is None or written.get(path, digests[name]) != digests[name]:
            files.make_folder(there.parent, below=target)
            copied.append(path)
            if digest := _copy_file(source, path, there, size, written.get(path, "")):
                digests[name] = digest
            else:
                there.unlink(missing_ok=True)
                damaged.append(path)
        progress("copying", done, len(content.files))
    if damaged:
        more = f" and {len(damaged) - _NAMED:,} more" if len(damaged) > _NAMED else ""
        raise DamagedError(
            f"The lake is damaged: {len(damaged):,} of its files are not what was written: "
            f"{', '.join(damaged[:_NAMED])}{more}. The previous backup stays as it was. {_EXAMINE}"
        )
    return digests, copied


def _read_key(source: Path) -> str:
    """Read the key, with which the standing list of withdrawals is read; "" if there is none."""
    try:
        text = below.read_small(source, secret.KEY).decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise LakeError(f"{source / secret.KEY} cannot be read: {error.strerror}.") from None
    if not secret.FORM.fullmatch(text.strip()):
        raise DamagedError(
            f"The lake's key ({source / secret.KEY}) is not one. Put it back from the last backup, or remove it: the "
            "next refresh makes another."
        )
    return text


def _write_key(text: str, target: Path) -> dict[str, str]:
    """Write the key, if there is one; returns its checksum."""
    if not text:
        return {}
    files.make_folder(target / DATA, below=target)
    _replace(target / DATA / secret.KEY, text)
    return {DATA + secret.KEY: hashlib.sha256(text.encode()).hexdigest()}


def _copy_file(source: Path, name: str, target: Path, size: int, digest: str) -> str | None:
    """Copy one file; returns its SHA-256, None if it is not what the catalogue lists."""
    try:
        return copy_file(source, name, target, size, digest)
    except FileNotFoundError:
        raise _GoneError(source / name) from None


def _prune(data: Path, content: Content) -> int:
    """Remove the files of ours that no snapshot of the lake needs any more; returns how many.

    What else lies there stays: a folder that is taken for a backup may be something else.
    """
    extra = [
        path
        for above, _, names in os.walk(data)
        for path in (Path(above, name) for name in names)
        if _is_ours(name := path.relative_to(data).as_posix()) and name not in content.files
    ]
    for path in extra:
        path.unlink()
    return len(extra)


def _is_ours(name: str) -> bool:
    """Whether this is a data file, the mark of a lake, or what a backup that was killed has left."""
    return is_own_path(name) or name == data_path.MARK or leftovers.is_leftover(name.rpartition("/")[2])


def _replace(path: Path, text: str) -> None:
    with files.write_text_atomically(path, may_stream=False) as file:
        file.write(text)
