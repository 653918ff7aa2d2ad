"""Lists the files below a folder without leaving it, and reports what it skips.

Links are followed while they stay in the folder: a file or folder is listed under every path that leads to it. Skipped
are links that lead out, links back to a parent folder (which would never end), dangling links, and entries that are
neither files nor folders.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from warehouse.object_store.beneath import NO_FILE, OUTSIDE, is_beneath, resolve

NOWHERE = "a link to nothing"
LOOP = "a link back to a folder that it lies in"
DEEP = "a link behind too many other links to folders"
UNRESOLVED = "a link that cannot be followed"

#: How a walk is distributed: the first folders are opened one by one, then threads take shares of the rest.
_SHARES, _SHARE, _THREADS = 1024, 64, 2
#: The most links to folders in one path: ten folders with ten links to each other have 10^n paths.
_LINKS = 3

#: Path below the folder, size in bytes, modification time in ns.
Row = tuple[str, int, int]
Skip = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class _Base:
    """The real path behind the last link of a path: its first `length` characters lead to `real`. `above`: the real
    folders of the links on the way."""

    length: int
    real: str
    above: tuple[str, ...] = ()

    def find_real_path(self, path: str) -> str:
        return self.real + path[self.length :]


_Folder = tuple[str, _Base]


def walk(root: str, prefix: str, skip: Skip) -> Iterator[list[Row]]:
    """Yield the files below `root` whose relative path starts with `prefix`, in batches.

    `skip` is called with the path and the reason of each skipped entry. OSError if a folder cannot be listed.
    """
    one = _Walk(root, skip)
    start = one.descend(prefix.rpartition("/")[0])
    if start is None:
        return
    folders: list[_Folder] = [start]
    rows: list[Row] = []
    while folders and len(folders) < _SHARES and len(rows) < _SHARES:
        above, folders = folders, []
        for folder in above:
            one.visit(folder, folders, rows)
        if prefix:
            folders = [folder for folder in folders if _may_hold(folder[0][one.cut :], prefix)]
    yield rows
    ahead: deque[Future[list[Row]]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="walk") as pool:
        for at in range(0, len(folders), _SHARE):
            ahead.append(pool.submit(one.list_below, folders[at : at + _SHARE]))
            if len(ahead) > 2 * _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _skip_silently(key: str, reason: str) -> None:
    """Skip silently."""


def _may_hold(key: str, prefix: str) -> bool:
    """Whether a folder may contain keys with the prefix."""
    return f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/")


class _Walk:
    """A walk; the first `cut` characters of a path are the root."""

    def __init__(self, root: str, skip: Skip) -> None:
        self._root, self._skip = root, skip
        self._real = resolve(root)[0]
        self.cut = len(root.rstrip("/")) + 1

    def descend(self, key: str) -> _Folder | None:
        """Find the folder of a key prefix; None if it does not exist, or if a link on the way must not be followed."""
        path, base = self._root.rstrip("/"), _Base(len(self._root.rstrip("/")), self._real.rstrip("/"))
        for segment in key.split("/") if key else ():
            if segment in ("", ".", ".."):
                return None
            found: list[_Folder] = []
            try:
                mode = os.lstat(f"{path}/{segment}").st_mode
            except FileNotFoundError:
                return None
            if stat.S_ISLNK(mode):
                self._follow((path, base), segment, found, [], _skip_silently)
            elif stat.S_ISDIR(mode):
                found.append((f"{path}/{segment}", base))
            if not found:
                return None
            path, base = found[0]
        return path, base

    def list_below(self, folders: list[_Folder]) -> list[Row]:
        """List all files below some folders."""
        rows: list[Row] = []
        waiting = folders[::-1]
        while waiting:
            self.visit(waiting.pop(), waiting, rows)
        return rows

    def visit(self, folder: _Folder, folders: list[_Folder], rows: list[Row]) -> None:
        """Append the files of a folder to the rows and its subfolders to the folders."""
        path, base = folder
        key = path[self.cut :] + "/" if len(path) >= self.cut else ""
        try:
            entries = os.scandir(path or "/")
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError):  # deleted since it was listed
            if not key:
                raise
            return
        with entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except (FileNotFoundError, ProcessLookupError):
                        continue
                    rows.append((key + entry.name, found.st_size, found.st_mtime_ns))
                elif entry.is_dir(follow_symlinks=False):
                    folders.append((f"{path}/{entry.name}", base))
                elif entry.is_symlink():
                    self._follow(folder, entry.name, folders, rows, self._skip)
                else:
                    self._skip(key + entry.name, NO_FILE)

    def _follow(self, folder: _Folder, name: str, folders: list[_Folder], rows: list[Row], skip: Skip) -> None:
        """Treat a link like its target, or skip it."""
        path = f"{folder[0]}/{name}"
        try:
            real, found = resolve(path)
        except FileNotFoundError:
            skip(path[self.cut :], NOWHERE)
            return
        except OSError as error:
            skip(path[self.cut :], f"{UNRESOLVED}: {error.strerror}")
            return
        here = folder[1].find_real_path(folder[0])
        above = (*folder[1].above, here)
        if not is_beneath(real, self._real):
            skip(path[self.cut :], OUTSIDE)
        elif stat.S_ISREG(found.st_mode):
            rows.append((path[self.cut :], found.st_size, found.st_mtime_ns))
        elif not stat.S_ISDIR(found.st_mode):
            skip(path[self.cut :], NO_FILE)
        elif any(is_beneath(one, real) for one in above):
            skip(path[self.cut :], LOOP)
        elif len(above) > _LINKS:
            skip(path[self.cut :], DEEP)
        else:
            folders.append((path, _Base(len(path), real, above)))
