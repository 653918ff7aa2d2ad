"""Writes many small files into many folders below one: each folder is opened once, and no link below is followed."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from pathlib import Path

from warehouse.filesystem.files import make_folder, write_new
from warehouse.filesystem.permissions import find_file_mode, find_folder_mode

#: The most folders that are open at once.
_MOST_OPEN = 64
_FOLDER: int = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
#: Not on Windows, where paths are used as they are.
_HAS_HANDLES = {os.open, os.mkdir, os.rename, os.unlink} <= os.supports_dir_fd


class _Opened:
    """The descriptor of a folder, closed when nobody uses it any more."""

    __slots__ = ("handle",)

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __del__(self) -> None:
        os.close(self.handle)


class Tree:
    """The folders below a folder, for several threads."""

    def __init__(self, root: Path, parts: str) -> None:
        """`parts` is the folder, relative to the root, in which files are written before they get their names."""
        self._root, self._parts = root, parts
        self._file_mode, self._folder_mode = find_file_mode(), find_folder_mode()
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Opened] = OrderedDict()
        if _HAS_HANDLES:
            self._top = _Opened(os.open(root, _FOLDER & ~getattr(os, "O_NOFOLLOW", 0)))  # the user's own link
            self._part_folder = self._find(parts)

    def write(self, name: str, path: str, content: bytes | memoryview) -> None:
        """Write a file at a path relative to the root: complete, or not at all. OSError if that is not possible.

        `name` is that of the file while it is incomplete; what has it already is removed.
        """
        if not _HAS_HANDLES:
            part = self._root / self._parts / name
            part.unlink(missing_ok=True)
            write_new(part, bytes(content))
            self.place(name, path)
            return
        folder = self._part_folder.handle
        try:
            handle = os.open(name, _NEW, 0o600, dir_fd=folder)
        except FileExistsError:
            os.unlink(name, dir_fd=folder)
            handle = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(handle, left) :]
            os.fchmod(handle, self._file_mode)
        finally:
            os.close(handle)
        self.place(name, path)

    def place(self, name: str, path: str) -> None:
        """Move a finished file of the parts to a path relative to the root, making its folders; OSError as above."""
        if not _HAS_HANDLES:
            target = self._root / path
            make_folder(target.parent, below=self._root)
            (self._root / self._parts / name).replace(target)
            return
        above, _, last = path.rpartition("/")
        with self._lock:
            folder = self._find(above)
        os.rename(name, last, src_dir_fd=self._part_folder.handle, dst_dir_fd=folder.handle)

    def _find(self, path: str) -> _Opened:
        """Open a folder, making it and those above if they do not exist."""
        if not path:
            return self._top
        if found := self._open.get(path):
            self._open.move_to_end(path)
            return found
        above, _, name = path.rpartition("/")
        made = self._make(self._find(above), name, path)
        self._open[path] = made
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return made

    def _make(self, above: _Opened, name: str, path: str) -> _Opened:
        try:
            os.mkdir(name, self._folder_mode, dir_fd=above.handle)
            is_new = True
        except FileExistsError:
            is_new = False
        try:
            found = _Opened(os.open(name, os.O_RDONLY | _FOLDER, dir_fd=above.handle))
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                place = self._root / path
                raise NotADirectoryError(errno.ENOTDIR, f"{place} is a link or a file", str(place)) from None
            raise
        if is_new:
            os.fchmod(found.handle, self._folder_mode)
        return found
