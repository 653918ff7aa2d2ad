"""Examines what lies beside a SQLite catalogue before SQLite does: a journal that came with it can lead elsewhere.

SQLite rolls back the journal of a writer that died. Where that journal names a super-journal (which only commits to
several databases have; a lake is one), SQLite removes the file of that name, whatever it is. And where the name of a
journal, or of the catalogue itself, is a link, SQLite reads and writes what it leads to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from warehouse.errors import LakeError
from warehouse.filesystem import files

#: The last bytes of a journal that names a super-journal (SQLite, "Database File Format", 3. The Rollback Journal).
_MAGIC = bytes.fromhex("d9d505f920a163d7")
_ENDINGS = ("-journal", "-wal", "-shm")


def require_own_files(catalogue: Path) -> None:
    """Raise LakeError if SQLite, opening this catalogue, would read, remove or write another file than its own."""
    for path in (f"{catalogue}{ending}" for ending in ("", *_ENDINGS)):
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
        with files.open_to_read(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - len(_MAGIC)))
            return file.read(len(_MAGIC))
    except OSError as error:
        raise LakeError(f"{path} cannot be read: {error.strerror}.") from None


def _refuse(path: str, why: str) -> None:
    raise LakeError(
        f"The lake is not opened: {path} {why}, which SQLite would read, remove or write. No writer of chest leaves "
        "such a file. If the lake came from somebody else, make one of your own from the bucket; if it is yours, "
        "restore it from its last good backup."
    )
