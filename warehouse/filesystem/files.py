"""Writes files and folders atomically, with the permissions of CHEST_SHARE; everything is written through here.

Nothing is written through a link. An incomplete file has an unpredictable name and is opened exclusively
(leftovers.py); a folder that a library fills is private until it is complete. A file with a predictable name, such as a
lock, is opened only if it is a regular file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from warehouse.errors import UsageError
from warehouse.filesystem import leftovers
from warehouse.filesystem.permissions import find_file_mode, find_folder_mode

_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)  # not on Windows, as the next two
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)
_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)


def make_folder(path: Path | str, *, below: Path | str | None = None) -> None:
    """Create a folder and its parents if they do not exist; OSError if that is not possible.

    Links in the path are followed down to `below`; below that folder, a link is an error.
    """
    path = Path(path)
    if below is not None and path not in (Path(below), path.parent):
        make_folder(path.parent, below=below)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, f"{path} is a link or a file", str(path))
    try:
        path.mkdir(find_folder_mode())
    except FileNotFoundError:
        make_folder(path.parent)
        make_folder(path)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        _set_permissions(path)


def _set_permissions(folder: Path) -> None:
    """Set the permissions of a folder that was just created; a link in its place is not followed."""
    if not hasattr(os, "fchmod"):  # Windows
        folder.chmod(find_folder_mode())
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW | _CLOEXEC)
    try:
        os.fchmod(handle, find_folder_mode())
    finally:
        os.close(handle)


@contextlib.contextmanager
def open_temporary_folder() -> Iterator[Path]:
    """Create a private temporary folder; it is removed at the end of the block."""
    path = make_temporary_folder()
    try:
        yield Path(path)
    finally:
        leftovers.remove(path)


def make_temporary_folder() -> str:
    """Create one that is removed when the process ends. Leftovers of dead processes are removed first."""
    leftovers.sweep_leftovers(tempfile.gettempdir())
    return leftovers.make_folder(tempfile.gettempdir(), "tmp")


@contextlib.contextmanager
def make_part_folder(parent: Path) -> Iterator[Path]:
    """Create a private folder in `parent` for files that are then moved to their targets; removed at the end."""
    leftovers.sweep_leftovers(str(parent))
    path = leftovers.make_folder(str(parent), "part")
    try:
        yield Path(path)
    finally:
        leftovers.remove(path)


@contextlib.contextmanager
def write_atomically(target: Path | str, *, may_stream: bool = True) -> Iterator[IO[bytes]]:
    """Open a file to write, which gets its name when the block ends without an error; OSError if it cannot.

    A link at the target is replaced, not written through. A pipe or device that the user names (a FIFO, /dev/stdout,
    /dev/null) is written to directly; one that waits at a name of ours (not `may_stream`) is replaced.
    """
    target = Path(target)
    if may_stream and (handle := _open_stream(target)) is not None:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        return
    parent = str(target.parent)
    leftovers.sweep_leftovers(parent)
    part, handle = leftovers.make_file(parent, "part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            _finish_file(file.fileno())
            os.replace(part, target)  # noqa: PTH105 - `part` is a text
        leftovers.release(part)
    finally:
        leftovers.remove(part)


@contextlib.contextmanager
def write_text_atomically(target: Path | str, *, may_stream: bool = True) -> Iterator[IO[str]]:
    """The same for text, as UTF-8 with unchanged line ends."""
    with write_atomically(target, may_stream=may_stream) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        try:
            yield text
        finally:
            text.detach()


def _open_stream(target: Path) -> int | None:
    """Open a target that is a pipe or device; None if it is a file that can be replaced, or does not exist yet."""
    if (handle := _open_again(target)) is not None:
        return handle
    try:
        found = target.lstat()
    except FileNotFoundError:
        return None
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(target))
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        return None
    _require_stream(found, target)
    handle = os.open(target, os.O_WRONLY | _NOFOLLOW | _CLOEXEC)
    try:
        _require_stream(os.fstat(handle), target)  # something else may have come to its place meanwhile
    except BaseException:
        os.close(handle)
        raise
    return handle


def _require_stream(found: os.stat_result, target: Path) -> None:
    """Raise FileExistsError unless it is a device or the user's own pipe."""
    if not stat.S_ISFIFO(found.st_mode) and not stat.S_ISCHR(found.st_mode):
        raise FileExistsError(errno.EEXIST, "it is neither a file nor a pipe", str(target))
    if stat.S_ISFIFO(found.st_mode) and found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, "it is a pipe of somebody else's", str(target))


def _open_again(target: Path) -> int | None:
    """Duplicate the descriptor of this process that a path names: /dev/stdout, /dev/stderr, /dev/fd/N; else None."""
    place, name = str(target.parent), target.name
    if place == "/dev" and name in ("stdout", "stderr"):
        return os.dup(1 if name == "stdout" else 2)
    if place in ("/dev/fd", "/proc/self/fd") and name.isdecimal():
        return os.dup(int(name))
    return None


def _finish_file(handle: int) -> None:
    """Set the permissions of a finished file, and flush it to the disk before it gets its name."""
    if hasattr(os, "fchmod"):
        os.fchmod(handle, find_file_mode())
    os.fsync(handle)


@contextlib.contextmanager
def write_folder_atomically(target: Path | str, *, is_settled: bool = False) -> Iterator[Path]:
    """Create a folder to fill, which gets its name when the block ends without an error: complete, or not at all.

    Of two writers of the same folder, the first to finish gets it. `is_settled`: its files have their permissions
    already, and are too many to flush. UsageError if something is in the way, OSError if it cannot be created.
    """
    target = Path(target)
    require_vacant(target)
    make_folder(target.parent)
    with make_part_folder(target.parent) as part:
        yield part
        if not is_settled:
            _finish_files(part)
        _set_permissions(part)
        try:
            part.rename(target)  # replaces an empty folder, and nothing else
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise _to_vacancy_error(target) from None
            raise
        leftovers.release(str(part))


def require_vacant(target: Path) -> None:
    """Raise UsageError if something other than an empty folder is at the target."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(target.lstat().st_mode) or any(target.iterdir()):
            raise _to_vacancy_error(target)


def _to_vacancy_error(target: Path) -> UsageError:
    return UsageError(f"{target} is in the way: name a new folder.")


def _finish_files(folder: Path) -> None:
    for above, folders, names in os.walk(folder):
        for name in folders:
            Path(above, name).chmod(find_folder_mode())
        for name in names:
            with Path(above, name).open("rb") as file:
                _finish_file(file.fileno())


def place_file(part: Path, target: Path) -> None:
    """Move a finished file from a part folder to its target."""
    with part.open("rb") as file:
        _finish_file(file.fileno())
    part.replace(target)


def write_new(path: Path | str, content: bytes) -> None:
    """Write a new file in a folder that is still being filled; OSError if it exists or cannot be written."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), find_file_mode())


def open_lock(path: Path | str) -> IO[bytes]:
    """Open the file of a lock, or create it; OSError if a link, a folder or anything else is in its place."""
    return os.fdopen(_open_plain(path, os.O_RDWR | os.O_CREAT), "r+b")


def open_to_read(path: Path | str) -> IO[bytes]:
    """Open a file with a predictable name to read; OSError if a link, a pipe or anything else is in its place."""
    return os.fdopen(_open_plain(path, os.O_RDONLY), "rb")


def open_to_append(path: Path | str) -> IO[bytes]:
    """Open a file to append lines, creating it if it does not exist.

    OSError if it is a link, has a second name (a hard link), or is neither a file nor a descriptor such as /dev/stdout.
    """
    if (handle := _open_again(Path(path))) is not None:
        return os.fdopen(handle, "ab")
    return os.fdopen(_open_plain(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, names=1), "ab")


def find_size_to_resume(path: Path | str) -> int:
    """Return the size of a partial file that can be resumed; 0 if `open_to_resume` would start again."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if _is_one_file(found):
            return found.st_size
    return 0


def open_to_resume(path: Path | str, *, anew: bool) -> IO[bytes]:
    """Open a partial file at its start, to read and to write; OSError if it cannot be opened.

    An existing file is removed first if `anew`, or if it is not a regular file with a single name.
    """
    with contextlib.suppress(FileNotFoundError):
        if anew or not _is_one_file(os.lstat(path)):
            os.unlink(path)  # noqa: PTH108
    return os.fdopen(_open_plain(path, os.O_RDWR | os.O_CREAT, names=1), "r+b")


def _is_one_file(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _open_plain(path: Path | str, flags: int, *, names: int = 0) -> int:
    """Open a file with a predictable name; OSError unless it is a regular file with at most `names` names."""
    try:
        handle = os.open(path, flags | _NOFOLLOW | _NONBLOCK | _CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, f"{path} is a link", str(path)) from None
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise FileExistsError(errno.EEXIST, f"{path} is not a regular file", str(path))
        if names and found.st_nlink > names:
            raise FileExistsError(errno.EEXIST, f"{path} is also another file (a hard link)", str(path))
        if flags & os.O_CREAT and not found.st_size and hasattr(os, "fchmod") and found.st_uid == os.geteuid():
            os.fchmod(handle, find_file_mode())
    except BaseException:
        os.close(handle)
        raise
    return handle
