"""Output streams that escape control characters and mask secrets.

All text for people passes through here: answers, notes, errors, progress, usage errors of the command line, tracebacks.
Our own styles (`Console`) bypass it, as do CSV and JSON for programs.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from warehouse.masking import mask_secrets
from warehouse.text import escape_controls

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Shown(io.TextIOBase):
    """A stream for people: escapes control characters in every write, and masks secrets if `masked`.

    It deliberately has no `buffer`: writing to that would bypass the escaping.
    """

    def __init__(self, stream: TextIO, *, masked: bool) -> None:
        self.stream = stream
        self._masked = masked

    def write(self, text: str) -> int:
        """Write the text, escaped and masked."""
        if not isinstance(text, str):
            raise TypeError(f"write() needs str, not {type(text).__name__}")
        self.stream.write(escape_controls(mask_secrets(text) if self._masked else text))
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether the underlying stream is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """As in the underlying stream."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """Always true."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As in the underlying stream."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """As in the underlying stream."""
        return self.stream.errors


@contextlib.contextmanager
def escape_output() -> Iterator[None]:
    """Replace stdout and stderr by escaping streams within a `with` block."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Shown(out, masked=False), Shown(err, masked=True)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def get_plain_stream(stream: Any) -> TextIO:
    """The underlying stream, for text that is already escaped or must not be changed by a byte."""
    below: TextIO = stream.stream if isinstance(stream, Shown) else stream
    return below


def leave_quietly() -> None:
    """Discard further output to a closed pipe (`chest … | head`); Python flushes once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def create_console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Create a Rich console for plain text: each string is one line, escaped before layout; markup is off."""
    from rich.console import Console

    class Escaping(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            shown = (escape_controls(item, keep_lines=False) if isinstance(item, str) else item for item in objects)
            super().print(*shown, **how)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    file = get_plain_stream(sys.stderr if stderr else sys.stdout)
    width = None if file.isatty() else _WIDE
    return Escaping(file=file, markup=False, highlight=False, soft_wrap=soft_wrap, emoji=False, width=width)


#: The width of output to a file or a pipe: nothing is cut or wrapped there.
_WIDE = 100_000


def create_table(**how: Any) -> Table:
    """Create a Rich table without a frame; its cells are escaped."""
    from rich.table import Table

    class Escaping(Table):
        def add_column(self, header: Any = "", *rest: Any, **more: Any) -> None:
            head = escape_controls(header, keep_lines=False) if isinstance(header, str) else header
            super().add_column(head, *rest, **more)

        def add_row(self, *cells: Any, **more: Any) -> None:
            shown = (escape_controls(cell, keep_lines=False) if isinstance(cell, str) else cell for cell in cells)
            super().add_row(*shown, **more)

    return Escaping(**{"box": None, "pad_edge": False, "header_style": "bold", **how})
