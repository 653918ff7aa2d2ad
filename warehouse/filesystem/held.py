"""Folders and files that wait for somebody's review: their owner reads them, and the group of the folder if it has one.

A folder whose group is inherited (setgid, `chmod g+s`) was set up for a group: what is made in it is readable to that
group. Otherwise it is private, whatever CHEST_SHARE is.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import IO

from warehouse.filesystem.files import open_to_read

_CHUNK = 1 << 20


def make_folder(folder: Path, *, is_private: bool = False, is_new: bool = False) -> None:
    """Make a folder; one that is there keeps its mode. OSError if a link or a file is in its place.

    `is_private`: its owner's alone, whatever the group of the folder above it. `is_new`: FileExistsError if anything is
    there.
    """
    is_shared = not is_private and _is_shared(folder.parent)
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        if is_new or folder.is_symlink() or not folder.is_dir():
            raise
    else:
        folder.chmod(0o2750 if is_shared else 0o700)


def write_file(target: Path, content: bytes) -> None:
    """Write a new file; OSError if it exists."""
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(handle, "wb") as taken:
        taken.write(content)
    target.chmod(_find_mode(target))


def copy_file(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file to a new one; returns its size and SHA-256. OSError if it exists, or the source is no file."""
    with open_to_read(source) as given:
        return copy_opened(given, target)


def copy_opened(given: IO[bytes], target: Path) -> tuple[int, str]:
    """The same for a file that is open."""
    hashed, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(handle, "wb") as taken:
        while chunk := given.read(_CHUNK):
            hashed.update(chunk)
            size += len(chunk)
            taken.write(chunk)
        taken.flush()
        os.fsync(taken.fileno())
    target.chmod(_find_mode(target))
    return size, hashed.hexdigest()


def _find_mode(target: Path) -> int:
    return 0o640 if _is_shared(target.parent) else 0o600


def _is_shared(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_ISGID)
