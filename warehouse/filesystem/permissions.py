"""Who may read what we write: the permissions that CHEST_SHARE sets, and the umask for what libraries write."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from warehouse.settings import load_share

_UMASKS = {"private": 0o077, "group": 0o027, "all": 0o022}


def find_umask() -> int:
    """The umask that CHEST_SHARE sets."""
    return _UMASKS[load_share()]


def find_file_mode() -> int:
    """Permissions of a file: 0640 unless CHEST_SHARE sets another."""
    return 0o666 & ~find_umask()


def find_folder_mode() -> int:
    """Permissions of a folder: 0750 unless CHEST_SHARE sets another."""
    return 0o777 & ~find_umask()


_tightening = threading.Lock()
_tightened, _umask_before = 0, 0


@contextlib.contextmanager
def tighten_umask() -> Iterator[None]:
    """Let libraries make no file in this block that others may read, whatever the process's umask.

    A umask is the whole process's, so it is only ever tightened: a thread that has asked for more keeps it.
    """
    global _tightened, _umask_before  # noqa: PLW0603 - so is a umask
    with _tightening:
        if not _tightened:
            _umask_before = os.umask(0o077)
            os.umask(_umask_before | find_umask())
        _tightened += 1
    try:
        yield
    finally:
        with _tightening:
            _tightened -= 1
            if not _tightened:
                os.umask(_umask_before)
