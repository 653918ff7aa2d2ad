"""Ends a worker process with the one that started it, however that ends: nothing is left that holds memory or files."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

#: Of prctl(2).
_SET_DEATH_SIGNAL = 1


def request_death_signal() -> None:
    """Let Linux kill this process when the thread that started it ends, even while a call holds Python's lock."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def end_with_parent() -> None:
    """Let this process of multiprocessing be killed when the one that started it ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    request_death_signal()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()  # returns at once if it has ended before
    os._exit(1)
