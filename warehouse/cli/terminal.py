"""What stands between the program and whoever reads it: streams that show control characters escaped and no secret.

All text goes through here: answers, notes, errors, progress, usage errors of the command line itself, tracebacks.
Styles of our own are written past it (`Console`), as are CSV and JSON that no person reads.
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
    """A stream whose text is shown: each write with control characters escaped, and without secrets where it says so.

    It has no `buffer` on purpose: whoever looks for one would write past it.
    """

    def __init__(self, stream: TextIO, *, masked: bool) -> None:
        self.stream = stream
        self._masked = masked

    def write(self, text: str) -> int:
        """Write the text as it may be seen."""
        if not isinstance(text, str):
            raise TypeError(f"text is to be written, not {type(text).__name__}")
        self.stream.write(escape_controls(mask_secrets(text) if self._masked else text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream below."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The stream's own."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """The stream's own."""
        return self.stream.errors


@contextlib.contextmanager
def escape_output() -> Iterator[None]:
    """A `with` block in which stdout and stderr are shown ones."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Shown(out, masked=False), Shown(err, masked=True)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def get_plain_stream(stream: Any) -> TextIO:
    """The stream below, for what is escaped already or must stay as it is to the byte."""
    below: TextIO = stream.stream if isinstance(stream, Shown) else stream
    return below


def leave_quietly() -> None:
    """Let nothing more be said to a reader who has gone (`chest … | head`); Python flushes once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def create_console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Rich's console for texts that are no markup, a line each: what is printed is escaped before it is laid out."""
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


#: The width of what goes to a file or a pipe: nothing is cut or wrapped there.
_WIDE = 100_000


def create_table(**how: Any) -> Table:
    """Rich's table without a frame, whose cells are escaped."""
    from rich.table import Table

    class Escaping(Table):
        def add_column(self, header: Any = "", *rest: Any, **more: Any) -> None:
            head = escape_controls(header, keep_lines=False) if isinstance(header, str) else header
            super().add_column(head, *rest, **more)

        def add_row(self, *cells: Any, **more: Any) -> None:
            shown = (escape_controls(cell, keep_lines=False) if isinstance(cell, str) else cell for cell in cells)
            super().add_row(*shown, **more)

    return Escaping(**{"box": None, "pad_edge": False, "header_style": "bold", **how})
