"""Runs the command at a terminal of its own, as a person does, and gives back every byte that arrived there."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path


def at_terminal(*words: object, columns: int = 80, cwd: Path | None = None, **environment: str) -> tuple[int, bytes]:
    """Exit code and bytes of `chest WORDS…` whose stdin, stdout and stderr are one terminal so many columns wide."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-c", "from warehouse.cli import main; main()", *map(str, words)]
    env = {**os.environ, "TERM": "xterm", **environment}
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd, close_fds=True
    ) as process:
        os.close(slave)
        seen = b""
        with contextlib.suppress(OSError):  # EIO: nobody writes to it any more
            while some := os.read(master, 65_536):
                seen += some
        os.close(master)
    return process.returncode, seen


if __name__ == "__main__":
    code, seen = at_terminal(*sys.argv[2:], columns=int(sys.argv[1]))
    sys.stdout.write(seen.decode().replace("\r\n", "\n"))
    sys.exit(code)
