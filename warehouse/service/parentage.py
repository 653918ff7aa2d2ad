"""Ends a worker with its server, however that ends: nothing is left that holds the lake open or memory."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

#: Of prctl(2).
_SET_DEATH_SIGNAL = 1


def end_with_parent() -> None:
    """Let this process be killed when the one that started it ends; on Linux even while a call holds Python's lock."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()  # returns at once if it has ended before
    os._exit(1)
