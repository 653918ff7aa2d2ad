"""Examines what lies beside a SQLite catalogue before SQLite does: a journal that came with it can lead elsewhere.

SQLite rolls back the journal of a writer that died. Where that journal names a super-journal (which only commits to
several databases have; a lake is one), SQLite removes the file of that name, whatever it is. And where the name of a
journal is a link, SQLite writes to what it leads to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from warehouse.errors import LakeError

#: The last bytes of a journal that names a super-journal (SQLite, "Database File Format", 3. The Rollback Journal).
_MAGIC = bytes.fromhex("d9d505f920a163d7")
_ENDINGS = ("-journal", "-wal", "-shm")


def require_own_journals(catalogue: Path) -> None:
    """Raise LakeError if SQLite, opening this catalogue, would remove or write another file than its own."""
    # SQLite follows a link to a catalogue, and looks for its journals there.
    places = dict.fromkeys((str(catalogue), os.path.realpath(catalogue)))
    for path in (f"{place}{ending}" for place in places for ending in _ENDINGS):
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if not stat.S_ISREG(found.st_mode):
            _refuse(path, "is no file of its own")
        if path.endswith("-journal") and _read_end(path) == _MAGIC:
            _refuse(path, "names another file")


def _read_end(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - len(_MAGIC)))
            return file.read(len(_MAGIC))
    except OSError as error:
        raise LakeError(f"{path} cannot be read: {error.strerror}.") from None


def _refuse(path: str, why: str) -> None:
    raise LakeError(
        f"The lake is not opened: {path} {why}, which SQLite would remove or write. No writer of chest leaves such a "
        "journal. If the lake came from somebody else, make one of your own from the bucket; if it is yours, restore "
        "it from its last good backup."
    )
