"""Temporary files and folders: locked while their process lives, removed when it ends or by the next one.

Each has a name that nobody can guess, and its maker holds a lock (flock) on it. The system drops the lock when the
maker dies, however it dies. So a later process can distinguish leftovers from what is in use, also across
containers and machines that share a folder, where process numbers are meaningless.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import stat
from typing import Literal

Kind = Literal["tmp", "part"]

#: Nobody's own file is called so. Parts are hidden: they lie beside what users see.
_NAMES = {"tmp": "chest-tmp-", "part": ".chest-part-"}
_NAME = re.compile(r"(?:chest-tmp-|\.chest-part-)[0-9a-f]{32}")
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)  # not on Windows, as the next two
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)
_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)

#: What this process has made and not yet removed or given away: its process (a child inherits this dictionary, and
#: must not tidy up for its parent) and the descriptor that holds the lock.
_held: dict[str, tuple[int, int]] = {}
_swept: set[str] = set()


def make_folder(parent: str, kind: Kind) -> str:
    """Make a folder that no other user may enter; OSError when the parent does not allow it."""
    while True:
        path = _new_path(parent, kind)
        os.mkdir(path, 0o700)  # noqa: PTH102 - plain calls here: paths are texts, and this runs at every start
        if _hold(path, os.O_RDONLY):
            return path


def make_file(parent: str, kind: Kind) -> tuple[str, int]:
    """Make a file; its path and a descriptor to write to, which the caller closes. OSError as above."""
    while True:
        path = _new_path(parent, kind)
        if handle := _hold(path, os.O_RDWR | os.O_CREAT | os.O_EXCL):
            return path, os.dup(handle)


def release(path: str) -> None:
    """Stop managing what was made: it has its final name, or was removed."""
    if entry := _held.pop(path, None):
        os.close(entry[1])


def remove(path: str) -> None:
    """Remove what was made, with all its content; does nothing if it was released."""
    if path in _held:
        _delete(path)
        release(path)


def remove_all() -> None:
    """Remove all that this process has made; for the end of the process."""
    for path, (process, _) in list(_held.items()):
        if process == os.getpid():
            remove(path)


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is one of these."""
    return bool(_NAME.fullmatch(name))


def sweep_leftovers(folder: str) -> None:
    """Remove what dead processes of the same user have left in a folder; looked for once a process.

    Not where others may rename what is there: they could give such a name to a folder of the user's own.
    """
    if folder in _swept:
        return
    _swept.add(folder)
    if _is_renamed_by_others(folder):
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for path in [entry.path for entry in entries if _NAME.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_dead(path)


def _is_renamed_by_others(folder: str) -> bool:
    try:
        found = os.stat(folder)  # noqa: PTH116 - a text
    except OSError:
        return True
    if not hasattr(os, "geteuid"):  # Windows
        return False
    is_open = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
    return bool(is_open) or found.st_uid not in (0, os.geteuid())


def find_dead(folder: str) -> list[str]:
    """What dead processes of the same user have left in a folder; empty if it cannot be read."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for path in [entry.path for entry in entries if _NAME.fullmatch(entry.name)]:
            with contextlib.suppress(OSError, ImportError):
                if _is_dead(path):
                    found.append(path)
    return sorted(found)


def remove_dead(folder: str) -> None:
    """Remove what dead processes of the same user have left in a folder, now."""
    for path in find_dead(folder):
        with contextlib.suppress(OSError):
            _remove_dead(path)


def _is_dead(path: str) -> bool:
    """Whether no process holds it any more. OSError if one does, ImportError on Windows, which has no such locks."""
    import fcntl

    handle = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return os.fstat(handle).st_uid == os.geteuid()
    finally:
        os.close(handle)


def _new_path(parent: str, kind: Kind) -> str:
    return os.path.join(parent, f"{_NAMES[kind]}{os.urandom(16).hex()}")  # noqa: PTH118


def _hold(path: str, flags: int) -> int:
    """Open and lock what was made; 0 if another process removed it as a leftover before it was locked."""
    try:
        handle = os.open(path, flags | _NOFOLLOW | _CLOEXEC, 0o600)
    except FileNotFoundError:
        if flags & os.O_CREAT:  # it is the folder that is not there
            raise
        return 0
    except PermissionError:  # Windows opens no folders
        if flags & os.O_CREAT or _NOFOLLOW:
            raise
        handle = os.open(os.devnull, os.O_RDONLY)
    with contextlib.suppress(ImportError, OSError):  # Windows; a file system without locks, where nobody sweeps either
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
        if not _is_at(path, handle):
            os.close(handle)
            return 0
    _held[path] = os.getpid(), handle
    return handle


def _remove_dead(path: str) -> None:
    """Remove what no process holds any more. OSError if one does, or if it belongs to another user."""
    try:
        import fcntl
    except ImportError:
        return
    handle = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _CLOEXEC)
    try:
        found = os.fstat(handle)
        is_ours = found.st_uid == os.geteuid() and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))
        if is_ours:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, handle):
                _delete(path)
    finally:
        os.close(handle)


def _is_at(path: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _delete(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError:  # a folder
        shutil.rmtree(path, ignore_errors=True)


atexit.register(remove_all)
