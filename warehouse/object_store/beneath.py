"""Opens files below a folder and never outside it, even if a link that leads out is created concurrently.

Linux 5.6 and later refuse links themselves (openat2); if that fails or is not available, the file is opened and its
real path checked. Only regular files are opened, and opening never blocks, as it would for a pipe.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from typing import Any

#: Why an entry below a folder is not an object.
OUTSIDE = "a link that leads out of the bucket"
NO_FILE = "no plain file: a pipe, a socket, a device or a folder"

_FLAGS: int = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
_O_PATH: int = getattr(os, "O_PATH", 0)
#: The number of openat2 (the same on all processors), and RESOLVE_BENEATH with RESOLVE_NO_SYMLINKS.
_OPENAT2, _RESOLVE = 437, 0x08 | 0x04


class RefusedError(Exception):
    """The path is not a regular file below the folder; the message has the reason."""


def open_file(root: int, real_root: str, key: str) -> int:
    """Open a file by its path below an open folder, of which `real_root` is the real path; returns a descriptor.

    Links are followed while they stay in the folder. Raises RefusedError, or the OSError of the system.
    """
    handle = _open_without_links(root, key)
    if handle < 0:
        return _open_through_links(root, real_root, key)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RefusedError(NO_FILE)
    return handle


def _open_through_links(root: int, real_root: str, key: str) -> int:
    """The same through a path-only descriptor (O_PATH), so that nothing outside is opened even briefly."""
    named = os.open(key, _O_PATH | os.O_CLOEXEC if _O_PATH else _FLAGS, dir_fd=root)
    try:
        if not is_beneath(find_real_path(named, f"{real_root}/{key}"), real_root):
            raise RefusedError(OUTSIDE)
        if not stat.S_ISREG(os.fstat(named).st_mode):
            raise RefusedError(NO_FILE)
        return os.open(f"/proc/self/fd/{named}", _FLAGS) if _O_PATH else os.dup(named)
    finally:
        os.close(named)


def resolve(path: str) -> tuple[str, os.stat_result]:
    """Resolve a link to its real path and status, without opening it for reading; OSError if it is dangling."""
    if not _O_PATH:
        return os.path.realpath(path, strict=True), os.stat(path)  # noqa: PTH116
    handle = os.open(path, _O_PATH | os.O_CLOEXEC)
    try:
        return find_real_path(handle, path), os.fstat(handle)
    finally:
        os.close(handle)


def find_real_path(handle: int, path: str) -> str:
    """The real path of an open descriptor; if the system does not provide it, the current real path of `path`."""
    try:
        return os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - plain calls: once a file
    except OSError:
        return os.path.realpath(path)


def is_beneath(path: str, folder: str) -> bool:
    """Whether a real path is that of a folder or below it."""
    return path == folder or path.startswith(folder if folder.endswith("/") else f"{folder}/")


def _open_without_links(root: int, key: str) -> int:
    """Return a descriptor, or -1 if the path contains a link or cannot be opened in this way."""
    call, how = _load_openat2()
    if call is None:
        return -1
    try:
        handle: int = call(_OPENAT2, root, os.fsencode(key), how, 24)
    except ValueError:  # a NUL or another invalid character in the key: os.open reports it
        return -1
    return handle


@cache
def _load_openat2() -> tuple[Any, Any]:
    """The system call and its arguments (flags, mode and resolve, 64 bits each); Nones if it is not available."""
    if not _O_PATH:  # not Linux
        return None, None
    import ctypes

    how = (ctypes.c_uint64 * 3)(_FLAGS, 0, _RESOLVE)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
    call.restype = ctypes.c_long
    return call, how
