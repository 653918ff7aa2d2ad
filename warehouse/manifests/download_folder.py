"""The folder of a download: created, locked, and marked as incomplete until every object is present."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from warehouse.errors import UsageError
from warehouse.filesystem import files
from warehouse.manifests import paths
from warehouse.manifests.document import escape_for_message
from warehouse.manifests.manifest import Manifest

_ADVICE = {
    errno.ENOSPC: "the disk is full. Free some space and run it again: it resumes",
    errno.EDQUOT: "the quota is exhausted. Free some space and run it again: it resumes",
    errno.EACCES: "no permission to write there. Choose another folder, or ask for access",
    errno.EPERM: "no permission to write there. Choose another folder, or ask for access",
    errno.EROFS: "the file system is read-only. Choose another folder",
    errno.EFBIG: "a file would be larger than the file system allows. Choose another folder",
    errno.ENAMETOOLONG: "a key is longer than the file system allows. Choose another folder",
}


@contextlib.contextmanager
def open_folder(data: Path, manifest: Manifest) -> Iterator[None]:
    """Create the folder of the download, mark it as incomplete, and hold its lock."""
    try:
        files.make_folder(data / paths.OWN / "parts", below=data)
        lock = files.open_lock(data / paths.OWN / "lock")
        _write_mark(data, _explain_resuming(manifest, data))
    except OSError as error:
        raise explain_unwritable(data, error) from None
    with lock:
        _lock(lock, data)
        yield


def _write_mark(data: Path, text: str) -> None:
    with files.write_text_atomically(data / paths.INCOMPLETE) as file:
        file.write(text)


def _explain_resuming(manifest: Manifest, data: Path) -> str:
    return (
        f"This download of {manifest.name} ({manifest.digest}) is not complete.\n"
        f"To resume:  chest manifest download {manifest.folder} -o {data}\n"
    )


def _lock(file: IO[bytes], data: Path) -> None:
    with contextlib.suppress(ImportError):  # no flock on Windows
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"Another download is writing to {data}. Wait until it is done.") from None


def explain_unwritable(data: Path, error: OSError) -> UsageError:
    """The error to raise if the folder cannot be written: the cause, and what to do."""
    words = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return UsageError(f"{data} cannot be written: {words}.")


def check_room(manifest: Manifest, data: Path) -> None:
    """UsageError if the objects cannot fit; files already present, complete or partial, count as free space."""
    needed = int(manifest.about["counts"]["bytes"])
    free = shutil.disk_usage(data).free
    if needed <= free:
        return
    there = sum(Path(above, name).lstat().st_size for above, _, names in os.walk(data) for name in names)
    if needed > free + there:
        raise UsageError(
            f"{data} has room for {(free + there) / 1e9:,.1f} GB, and the objects need {needed / 1e9:,.1f} GB. "
            "Choose another folder or free some space."
        )


def finish_folder(data: Path, manifest: Manifest, failed: list[tuple[str, str]]) -> None:
    """Remove the mark INCOMPLETE, or, if objects failed, list them in it."""
    try:
        if failed:
            missing = "".join(f"{reason}\t{escape_for_message(key, 5000)}\n" for key, reason in failed)
            _write_mark(data, f"{_explain_resuming(manifest, data)}\n{missing}")
            return
        shutil.rmtree(data / paths.OWN, ignore_errors=True)
        (data / paths.INCOMPLETE).unlink()
    except OSError as error:
        raise explain_unwritable(data, error) from None
