"""Reads what lies below a folder that may be somebody else's: follows no link in it, and waits for no pipe.

The folder itself may be a link: that is the user's own.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

#: More than any small file of ours has.
SMALL = 4096
_LINK, _OTHER = "a link", "neither a file nor a folder"
_FILE: int = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
#: By O_PATH, a folder is passed through that may not be listed.
_FOLDER: int = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
#: Not on Windows, where paths are used as they are.
_HAS_HANDLES = os.open in os.supports_dir_fd


class OddPathError(OSError):
    """A path below a folder has a link in it, leads out, or is that of no regular file."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ELOOP, "it is no file of this folder: a link, a pipe or the like", str(path))


def open_below(root: Path | str, name: str) -> io.BufferedReader:
    """Open a regular file to read, by its path below a folder; OddPathError if it is none, or if a link is on the way.

    FileNotFoundError if nothing is there, another OSError if it cannot be opened.
    """
    root = Path(root)
    *above, last = parts = name.split("/")
    if not all(parts) or {".", ".."} & {*parts} or "\0" in name:
        raise OddPathError(root / name.replace("\0", "?"))
    try:
        return os.fdopen(_open(root, above, last), "rb")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise OddPathError(root / name) from None
        raise


def _open(root: Path, above: list[str], last: str) -> int:
    """Open a file folder by folder, so that none is exchanged for a link in between."""
    folder = _open_folder(root, above) if above and _HAS_HANDLES else None
    try:
        if folder is None and any(root.joinpath(*above[: n + 1]).is_symlink() for n in range(len(above))):
            raise OddPathError(root.joinpath(*above, last))
        handle = os.open(root.joinpath(*above, last) if folder is None else last, _FILE, dir_fd=folder)
    finally:
        if folder is not None:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OddPathError(root.joinpath(*above, last))
    return handle


def _open_folder(root: Path, parts: list[str]) -> int:
    folder = os.open(root, _FOLDER)
    for part in parts:
        try:
            inner = os.open(part, _FOLDER | getattr(os, "O_NOFOLLOW", 0), dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def read_small(root: Path | str, name: str, most: int = SMALL) -> bytes:
    """Read a file below a folder, as `open_below` opens it; OSError also if it has more than `most` bytes."""
    with open_below(root, name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(Path(root, name)))
    return content


def find_size(path: Path | str) -> int | None:
    """The size of a regular file; None if nothing is there, or a link or anything else."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def find_odd_entry(folder: Path | str) -> tuple[str, str] | None:
    """The first entry below a folder that is neither a folder nor a regular file: its path, and what it is.

    None if there is none. What this user may not list is left out; OSError if a folder cannot be listed for another
    reason.
    """
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        with entries:
            for entry in entries:
                if entry.is_symlink():
                    return entry.path, _LINK
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    return entry.path, _OTHER
    return None
