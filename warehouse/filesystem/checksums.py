"""SHA-256 beside what is written, in the format that `sha256sum -c` reads: one file beside a file, one in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from warehouse.filesystem import files

#: What is added to the name of a file for the one with its hash; the name of the file with the hashes of a folder.
ENDING, SUMS = ".sha256", "SHA256SUMS"


class HashedFile:
    """A file for writing that hashes what passes; only what a writer of Parquet calls."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha, self._written = hashlib.sha256(), 0
        self.closed = False

    def write(self, content: bytes) -> int:
        """Write bytes, all of them."""
        view = memoryview(content)
        self.sha.update(view)
        self._file.write(view)
        self._written += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """How much was written."""
        return self._written

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Leave the file open: its opener closes it."""
        self.closed = True

    def readable(self) -> bool:
        """Never."""
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Never: what was hashed stays as it is."""
        return False


@contextlib.contextmanager
def write_with_checksum(target: Path | str) -> Iterator[HashedFile]:
    """`files.write_atomically`, and a file `TARGET.sha256` after it; a pipe or a device gets none.

    Each takes its place at once, the hash second: between the two, the hash does not match, but it never matches
    one that matches something else.
    """
    target = Path(target)
    with files.write_atomically(target) as file:
        hashed = HashedFile(file)
        yield hashed
        file.flush()
        written = os.fstat(file.fileno())
    found = target.lstat()
    if stat.S_ISREG(found.st_mode) and os.path.samestat(found, written):
        with files.write_atomically(target.with_name(target.name + ENDING), may_stream=False) as beside:
            beside.write(render_line(hashed.sha.hexdigest(), target.name))


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS into a folder that is being filled, for all files in it and below."""
    lines = []
    for above, _, names in os.walk(folder):
        for name in names:
            path = Path(above, name)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append((path.relative_to(folder).as_posix(), digest))
    files.write_new(folder / SUMS, b"".join(render_line(digest, name) for name, digest in sorted(lines)))


def render_line(digest: str, name: str) -> bytes:
    """A line for `sha256sum -c`, which marks names with a backslash or a line feed, and escapes them."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return os.fsencode(f"{mark}{digest}  {escaped}\n")
