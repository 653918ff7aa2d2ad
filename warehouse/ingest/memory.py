"""Keeps the memory of a refresh close to what it uses, by making the C library release freed memory.

DuckDB's and Arrow's threads free all that they allocate, but glibc keeps most of it, per thread, for later.
"""

from __future__ import annotations

import ctypes
import sys

#: glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: Blocks of at least this size are returned to the system when freed (measured: docs/performance.md).
_LARGE = 1 << 20


def bound_memory() -> None:
    """Make glibc keep little freed memory, for the rest of the process; without glibc it does nothing."""
    if (mallopt := _find_glibc_function("mallopt")) is not None:
        mallopt(_ARENA_MAX, 2)
        mallopt(_TRIM_THRESHOLD, _LARGE)
        mallopt(_MMAP_THRESHOLD, _LARGE)


def release() -> None:
    """Return freed memory to the system, between the phases of a refresh, so that their peaks do not add up."""
    if (trim := _find_glibc_function("malloc_trim")) is not None:
        trim(0)


def _find_glibc_function(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
