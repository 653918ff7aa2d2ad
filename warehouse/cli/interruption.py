"""Handles signals: Ctrl-C, SIGTERM (timeout, systemd) and SIGHUP (a closed terminal), all in the same way.

The first signal raises an exception in the main thread, so that every `with` block cleans up. A second one, or cleaning
up that takes too long, ends the process at once: temporary files are removed, and what was committed is safe. A command
that writes calls `mark_writing`, and the message then states that running it again resumes it. Only the `chest` command
installs this; other Python processes, and Dagster, have handlers of their own.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import time
from types import FrameType

#: Seconds allowed for cleaning up.
_PATIENCE = 5.0

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows does not have all of them

_received = 0
_is_lost, _has_line, _is_writing = False, False, False
_wakeup = -1


class Interruption(BaseException):
    """A signal has arrived. Not a KeyboardInterrupt, because click handles that itself."""


def install_handlers() -> None:
    """Handle the signals from now on; a signal that the parent process ignores (nohup, &) stays ignored."""
    global _wakeup
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_interruption)
    sys.unraisablehook = _raise_again
    # Python cannot raise inside a library call that does not return; a thread sees the wakeup byte all the same.
    watched, _wakeup = os.pipe()
    os.set_blocking(_wakeup, False)
    signal.set_wakeup_fd(_wakeup, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch_signals, (watched,))


def mark_writing() -> None:
    """Note that the command writes to a lake or downloads: what it has committed survives a signal."""
    global _is_writing  # noqa: PLW0603 - a process runs one command
    _is_writing = True


def has_arrived() -> bool:
    """Whether a signal has arrived."""
    return bool(_received)


def conclude() -> int:
    """Write the message to stderr; return the exit code, 128 plus the signal's number."""
    _write_line()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return 128 + _received
    # The terminal or pipe is closed: Python would print an error at its last flush.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + _received


def end_at_once_from_now_on() -> None:
    """Let a signal end the process at once from now on: the work is done."""
    global _wakeup  # noqa: PLW0603
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _raise_interruption:
            signal.signal(number, _end_at_once)
    if _wakeup >= 0:
        signal.set_wakeup_fd(-1)
        os.close(_wakeup)
        _wakeup = -1


def _raise_interruption(number: int, frame: FrameType | None) -> None:
    global _received, _is_lost  # noqa: PLW0603 - a signal is the process's
    if _received and not _is_lost:
        _end_at_once(_received, frame)
    _received = _received or number
    _is_lost = False
    raise Interruption


def _watch_signals(watched: int) -> None:
    if number := os.read(watched, 1):  # empty when the pipe was closed without a signal
        time.sleep(_PATIENCE)
        _end_at_once(number[0], None)
    os.close(watched)  # not before: a second signal is written to it too


def _end_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
    global _received  # noqa: PLW0603
    leftovers = sys.modules.get("warehouse.filesystem.leftovers")
    if leftovers:
        leftovers.remove_all()
    if not _has_line:
        _received = _received or number
        _write_line()
    os._exit(128 + _received)


def _write_line() -> None:
    global _has_line  # noqa: PLW0603
    _has_line = True
    by = "" if _received == signal.SIGINT else f" by {signal.Signals(_received).name}"
    advice = " What was committed is safe; run it again to resume." if _is_writing else ""
    line = f"chest: interrupted{by}.{advice}\n"
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    with contextlib.suppress(OSError):
        os.write(2, line.encode())


def _raise_again(args: sys.UnraisableHookArgs) -> None:
    """Raise the exception again if it came where Python cannot propagate it (in a finaliser)."""
    global _is_lost  # noqa: PLW0603
    if not isinstance(args.exc_value, Interruption):
        sys.__unraisablehook__(args)
        return
    _is_lost = True
    _thread.start_new_thread(_raise_soon, ())


def _raise_soon() -> None:
    time.sleep(0.05)  # until the finaliser has finished
    _thread.interrupt_main(signal.Signals(_received))
