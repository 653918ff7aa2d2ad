"""Runs the command at a terminal of its own, as a person does, and gives back every byte that arrived there."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from warehouse.cli import main

#: After it nothing more comes of a command in this process.
_END = b"<no more of it>"


def run_at_terminal(
    *words: object, columns: int = 80, cwd: Path | None = None, **environment: str
) -> tuple[int, bytes]:
    """Exit code and bytes of `chest WORDS…` whose stdin, stdout and stderr are one terminal so many columns wide."""
    master, slave = _open_terminal(columns)
    command = [sys.executable, "-c", "from warehouse.cli import main; main()", *map(str, words)]
    env = {**os.environ, "TERM": "xterm", **environment}
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd, close_fds=True
    ) as process:
        os.close(slave)
        seen = _read_all(master)
    return process.returncode, seen


def run_here_at_terminal(
    *words: object, columns: int = 80, cwd: Path | None = None, **environment: str
) -> tuple[int, bytes]:
    """The same within this process, to spare its start."""
    master, slave = _open_terminal(columns)
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append(_read_all(master)))
    reader.start()
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["chest", *map(str, words)])
        patch.setattr(sys, "meta_path", [*sys.meta_path])
        for name, value in {"TERM": "xterm", **environment}.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            with _replace_streams(slave, patch):
                main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os.write(slave, _END)  # libraries may keep the terminal open
            reader.join()
            os.close(slave)
    return code, b"".join(seen).removesuffix(_END)


@contextlib.contextmanager
def _replace_streams(terminal: int, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the terminal for stdin, stdout and stderr, also of what is not Python."""
    kept = [os.dup(number) for number in range(3)]
    try:
        for number in range(3):
            os.dup2(terminal, number)
        with (
            open(0, closefd=False) as given,
            open(1, "w", closefd=False) as out,
            open(2, "w", closefd=False, errors="backslashreplace") as err,
        ):
            for name, stream in (("stdin", given), ("stdout", out), ("stderr", err)):
                patch.setattr(sys, name, stream)
            yield
    finally:
        for number, before in enumerate(kept):
            os.dup2(before, number)
            os.close(before)


def _open_terminal(columns: int) -> tuple[int, int]:
    """A terminal fifty lines high: its other end, and itself."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    return master, slave


def _read_all(master: int) -> bytes:
    """What arrives until nobody has the terminal any more, or the end is announced."""
    seen = b""
    with contextlib.suppress(OSError):  # EIO: nobody writes to it any more
        while not seen.endswith(_END) and (some := os.read(master, 65_536)):
            seen += some
    os.close(master)
    return seen


if __name__ == "__main__":
    code, seen = run_at_terminal(*sys.argv[2:], columns=int(sys.argv[1]))
    sys.stdout.write(seen.decode().replace("\r\n", "\n"))
    sys.exit(code)
