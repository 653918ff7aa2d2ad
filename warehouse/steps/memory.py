"""Gives memory back between the phases of a refresh, so that their peaks do not add up."""

import ctypes
import sys


def release() -> None:
    """Return what the C library keeps of freed memory to the system (glibc); elsewhere it does nothing.

    DuckDB's threads leave half a gigabyte of freed blocks behind after a large listing or plan.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
