"""Runs `dagster dev` for `make dev`, and ends it with one line: Dagster prints the stack of all that it was running."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

#: Seconds for which the runs may end by themselves; a refresh resumes either way.
_PATIENCE = 30


class _Interrupted(Exception):  # noqa: N818 - it is no error
    """A signal that ends this process; its number is the argument."""


def main(words: list[str]) -> int:
    """Run `dagster dev` with these words until it ends or a signal comes; the exit code, as a shell knows it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        signal.signal(number, _raise)
    command = [str(Path(sys.executable).with_name("dagster")), "dev", *words]
    # A session of its own: the terminal's signal comes to this process alone, which passes it on.
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert process.stdout is not None
    is_over = threading.Event()
    copier = threading.Thread(target=_copy, args=(process.stdout, is_over), daemon=True)
    copier.start()
    try:
        code = process.wait()
        copier.join()
        return code
    except _Interrupted as interrupted:
        is_over.set()
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(OSError):  # the terminal has been closed
            print("Interrupted: Dagster and its runs are ending …", file=sys.stderr, flush=True)
        copier.join(_PATIENCE)  # until nobody has the pipe any more
        if copier.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return 128 + int(interrupted.args[0])


def _raise(number: int, frame: object) -> None:  # noqa: ARG001 - as the module signal has it
    raise _Interrupted(number)


def _copy(output: IO[bytes], is_over: threading.Event) -> None:
    """Pass on what is printed until it is over, or nobody reads it, and nothing from then on."""
    while part := output.read1():  # type: ignore[attr-defined]
        try:
            if not is_over.is_set():
                sys.stdout.buffer.write(part)
                sys.stdout.buffer.flush()
        except OSError:
            is_over.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
