"""The folder of a download: created, locked, and marked as incomplete until every object is present.

A folder whose layout is not that of the keys remembers it, and has a table of the paths.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.errors import UsageError
from warehouse.filesystem import files
from warehouse.manifests import paths
from warehouse.manifests.document import escape_for_message
from warehouse.manifests.files import LAYOUT
from warehouse.manifests.layouts import KEYS, Layout, parse_layout
from warehouse.manifests.manifest import Manifest

if TYPE_CHECKING:
    import duckdb

_ADVICE = {
    errno.ENOSPC: "the disk is full. Free some space and run it again: it resumes",
    errno.EDQUOT: "the quota is exhausted. Free some space and run it again: it resumes",
    errno.EACCES: "no permission to write there. Choose another folder, or ask for access",
    errno.EPERM: "no permission to write there. Choose another folder, or ask for access",
    errno.EROFS: "the file system is read-only. Choose another folder",
    errno.EFBIG: "a file would be larger than the file system allows. Choose another folder",
    errno.ENAMETOOLONG: "a key is longer than the file system allows. Choose another folder",
}


#: What stays in the folder's own folder: the layout, and the manifest of `chest download`.
MANIFEST = "manifest"
_KEPT = (LAYOUT, MANIFEST)
#: More than any layout has.
_MOST_BYTES = 4096


@contextlib.contextmanager
def open_folder(data: Path, manifest: Manifest, layout: Layout) -> Iterator[None]:
    """Create the folder of the download, mark it as incomplete, and hold its lock; it remembers its layout."""
    try:
        files.make_folder(data / paths.OWN / "parts", below=data)
        lock = files.open_lock(data / paths.OWN / "lock")
        with lock:
            _lock(lock, data)
            _write_text(data / paths.INCOMPLETE, _explain_resuming(manifest, data, layout))
            if layout.is_by_key:
                (data / paths.OWN / LAYOUT).unlink(missing_ok=True)
            else:
                _write_text(data / paths.OWN / LAYOUT, layout.text)
                for name in paths.TABLES:
                    (data / name).unlink(missing_ok=True)
            yield
    except OSError as error:
        raise explain_unwritable(data, error) from None


def choose_layout(data: Path, text: str = "") -> Layout:
    """The layout that was asked for, or that the folder remembers; UsageError if it has files in another layout.

    A layout that was refused, or that has no file yet, does not bind.
    """
    remembered = read_layout(data)
    if not text or text == remembered:
        return parse_layout(text or remembered or KEYS)
    asked = parse_layout(text)
    own = {paths.OWN, paths.INCOMPLETE}
    is_in_use = data.is_dir() and any(entry.name not in own for entry in data.iterdir())
    if not is_in_use or (asked.is_by_key and not remembered):
        return asked
    remembered = remembered or KEYS
    raise UsageError(
        f"{data} has files in layout {shlex.quote(remembered)}. Give --layout {shlex.quote(remembered)}, or another "
        "folder."
    )


def read_layout(data: Path) -> str:
    """The layout that a folder remembers; "" for that of the keys, which leaves no trace."""
    place = data / paths.OWN / LAYOUT
    try:
        with files.open_to_read(place) as file:
            return file.read(_MOST_BYTES).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeError):
        raise UsageError(
            f"{place} cannot be read: it should have the layout of the folder. Use another folder."
        ) from None


def _write_text(path: Path, text: str) -> None:
    with files.write_text_atomically(path, may_stream=False) as file:
        file.write(text)


def _explain_resuming(manifest: Manifest, data: Path, layout: Layout) -> str:
    by = "" if layout.is_by_key else f" --layout {shlex.quote(layout.text)}"
    return (
        f"This download of {manifest.name} ({manifest.digest}) is not complete.\n"
        f"To resume:  chest manifest download {manifest.folder} -o {data}{by}\n"
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


def finish_folder(data: Path, manifest: Manifest, layout: Layout, failed: list[tuple[str, str]]) -> None:
    """Remove the mark INCOMPLETE, or, if objects failed, list them in it."""
    if failed:
        missing = "".join(f"{reason}\t{escape_for_message(key, 5000)}\n" for key, reason in failed)
        _write_text(data / paths.INCOMPLETE, f"{_explain_resuming(manifest, data, layout)}\n{missing}")
        return
    for entry in (data / paths.OWN).iterdir():
        if entry.name not in _KEPT:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
    with contextlib.suppress(OSError):  # something is kept
        (data / paths.OWN).rmdir()
    (data / paths.INCOMPLETE).unlink()


def write_tables(con: duckdb.DuckDBPyConnection, rows: str, data: Path) -> None:
    """Write the tables of paths beside the objects; table `targets` has the path of each."""
    query = sql_files.fill(sql_files.read_statements("manifests/layouts.sql")["files"], rows=rows)
    with files.make_part_folder(data / paths.OWN) as part:
        for name, options in zip(paths.TABLES, ("format parquet, compression zstd", "format csv, header"), strict=True):
            place = part.resolve() / name
            con.execute(f"copy ({query}) to {sql_files.literal(str(place))} ({options})")
            files.place_file(place, data / name)
