"""What ends a command from outside: Ctrl-C, SIGTERM (timeout, systemd) and SIGHUP (a terminal that closed), all alike.

The first signal raises where the program is, so that every `with` block tidies up. A second one, or tidying up that
takes too long, ends the process at once: what is temporary is removed, and what was committed is safe. Only the `chest`
command installs this. A Python process of somebody else's, and Dagster, have handlers of their own.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import time
from types import FrameType

#: Seconds in which what was begun may come to its end.
_PATIENCE = 5.0

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # not all of them are known to Windows

_received = 0
_is_lost, _has_line = False, False
_wakeup = -1


class Interruption(BaseException):
    """A signal has come. No KeyboardInterrupt: click would take that for its own."""


def install_handlers() -> None:
    """Take care of the signals from now on; one that the parent has chosen to ignore (nohup, &) stays ignored."""
    global _wakeup
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_interruption)
    sys.unraisablehook = _raise_again
    # A library that does not return cannot be raised in; what the system writes here, a thread sees all the same.
    watched, _wakeup = os.pipe()
    os.set_blocking(_wakeup, False)
    signal.set_wakeup_fd(_wakeup, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch_signals, (watched,))


def has_arrived() -> bool:
    """Whether a signal has come."""
    return bool(_received)


def conclude() -> int:
    """Write the one line about it to stderr; returns the exit code, 128 and the signal's number."""
    _write_line()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return 128 + _received
    # A terminal or pipe that has gone: Python would complain when it flushes for the last time.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + _received


def end_at_once_from_now_on() -> None:
    """The work is done: from now on a signal has nothing to interrupt but the end of the process."""
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _raise_interruption:
            signal.signal(number, _end_at_once)
    if _wakeup >= 0:
        signal.set_wakeup_fd(-1)
        os.close(_wakeup)


def _raise_interruption(number: int, frame: FrameType | None) -> None:
    global _received, _is_lost  # noqa: PLW0603 - a signal is the process's
    if _received and not _is_lost:
        _end_at_once(_received, frame)
    _received = _received or number
    _is_lost = False
    raise Interruption


def _watch_signals(watched: int) -> None:
    if number := os.read(watched, 1):  # nothing: the work was done without a signal
        time.sleep(_PATIENCE)
        _end_at_once(number[0], None)


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
    line = f"chest: interrupted{by}. What was committed is safe; run it again to go on.\n"
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    with contextlib.suppress(OSError):
        os.write(2, line.encode())


def _raise_again(args: sys.UnraisableHookArgs) -> None:
    """Raise once more what came while Python could not hand it on (in a finaliser), instead of losing it."""
    global _is_lost  # noqa: PLW0603
    if not isinstance(args.exc_value, Interruption):
        sys.__unraisablehook__(args)
        return
    _is_lost = True
    _thread.start_new_thread(_raise_soon, ())


def _raise_soon() -> None:
    time.sleep(0.05)  # until the finaliser is over
    _thread.interrupt_main(signal.Signals(_received))
