"""The folder where files wait: copies that only the owner reads, or the reviewers' group where that has been set up.

A request's event in the log has the hash of each file: what was changed while it waited is not released.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import LakeError, ManifestError, UsageError
from warehouse.filesystem import below, held
from warehouse.lake.location import Location
from warehouse.settings import Settings

#: A larger file does not wait here: nobody can review it.
MOST_MB = 200
#: A table of more cells is not taken apart: a small file may state any number of rows.
MOST_CELLS = 20_000_000


@dataclass(frozen=True, slots=True)
class Held:
    """A file that waits: its name, size and SHA-256."""

    name: str
    bytes: int
    sha256: str


def find_folder(place: Location, settings: Settings) -> Path:
    """Where files of a lake wait: CHEST_AIRLOCK, or `airlock` in the folder of the lake.

    UsageError without either, or if the latter is a link: the lake may be somebody else's.
    """
    if settings.airlock:
        return Path(settings.airlock).expanduser().absolute()
    if place.folder is None:
        raise UsageError(f"{place.name} has no folder of its own. Name one for the airlock:  CHEST_AIRLOCK=/PATH")
    folder = place.folder / "airlock"
    if folder.is_symlink():
        raise UsageError(f"{folder} is a link. If the airlock is what it leads to, name that:  CHEST_AIRLOCK=/PATH")
    return folder


def copy_files(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Copy files into a private folder, where nobody changes them while they are inspected; UsageError if one cannot be
    read, has the name of another, or is too large."""
    _require_names(paths)
    copies = [folder / path.name for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        try:
            if path.stat().st_size > MOST_MB * 2**20:
                raise UsageError(f"{path} is larger than {MOST_MB} MB. Nobody can review it: release less.")
            held.copy_file(path, copy)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None
    return copies


def _require_names(paths: Sequence[Path]) -> None:
    names = [path.name for path in paths]
    if hidden := next((name for name in names if name.startswith(".")), ""):
        raise UsageError(f"{hidden} begins with a dot. Give the file a name that people see.")
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise UsageError(f"Two files are named {twice}. Give them different names.")


def reserve(folder: Path, ids: Iterable[str]) -> str:
    """Make the folder of a request under the first of these IDs that nobody has here; returns the ID."""
    try:
        held.make_folder(folder, is_private=True)
        for name in ids:
            with contextlib.suppress(FileExistsError):
                held.make_folder(folder / name, is_new=True)
                return name
    except OSError as error:
        raise _explain(folder, error) from None
    raise AssertionError("there are always more")


def hold_files(folder: Path, request: str, paths: Sequence[Path]) -> tuple[Held, ...]:
    """Copy files into the folder that was made for a request; UsageError if one cannot be read or has the name of
    another.

    Names that begin with a dot are the airlock's own (`hold_bytes`): nobody else says whose data was released.
    """
    _require_names(paths)
    target = folder / request
    try:
        return tuple(Held(path.name, *held.copy_file(path, target / path.name)) for path in paths)
    except OSError as error:
        raise _explain(folder, error) from None


def _explain(folder: Path, error: OSError) -> LakeError:
    return LakeError(f"The airlock {folder} cannot be written: {error.strerror} ({error.filename}).")


def hold_bytes(folder: Path, request: str, name: str, content: bytes) -> None:
    """Write what is kept beside the files of a request."""
    held.write_file(folder / request / name, content)


def read_bytes(folder: Path, request: str, name: str) -> bytes | None:
    """Read what is kept beside the files of a request; None if there is nothing of that name."""
    try:
        return below.read_small(folder, f"{request}/{name}", MOST_MB << 20)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LakeError(f"The airlock {folder} cannot be read: {error.strerror} ({request}).") from None


def discard(folder: Path, request: str) -> None:
    """Remove what a request holds; nothing if it is not there."""
    shutil.rmtree(folder / request, ignore_errors=True)


def release_files(folder: Path, request: str, given: Sequence[Held], target: Path) -> None:
    """Copy the files of a request into a folder; ManifestError if one is not what was requested."""
    for file in given:
        if file.name != Path(file.name).name or file.name in ("", "..") or request != Path(request).name:
            raise ManifestError(f"Request {request!r} has a file {file.name!r}, which is no name. Request it again.")
        try:
            with below.open_below(folder, f"{request}/{file.name}") as kept:
                found = Held(file.name, *held.copy_opened(kept, target / file.name))
        except OSError as error:
            raise LakeError(f"{file.name} of request {request} cannot be read: {error.strerror}.") from None
        if found != file:
            raise ManifestError(
                f"{file.name} of request {request} is not what was requested and reviewed: its SHA-256 is "
                f"{found.sha256}, not {file.sha256}. Request it again."
            )
