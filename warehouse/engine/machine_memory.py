"""The shares of the machine's memory that untrusted SQL gets: a quarter for its DuckDB, half for the process.

Cohorts and manifests are untrusted SQL, and are asked of lakes of millions of images: a fixed limit for strangers
would stop them. What does not fit into the share goes to disk. Of a container it is the container's memory.
"""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path

from warehouse.settings import HALF_OF_MACHINE, Settings

#: Where Linux states the memory limit of a control group: version 2, version 1.
_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: Assumed where the amount is unknown.
_UNKNOWN_MB = 2048
#: The least that each gets: smaller ones were too small for lakes of a hundred thousand images.
_LEAST_MB = 512
_LEAST_PROCESS_MB = 768


def untrusted_duckdb_mb(settings: Settings) -> int:
    """Memory in MB of the DuckDB that reads a lake for untrusted SQL."""
    return settings.memory_limit_mb or max(_LEAST_MB, total_mb() // 4)


def confined_duckdb_mb(settings: Settings) -> int:
    """Memory in MB of the DuckDB that has no lake, and writes and reads manifests beside the other."""
    return settings.memory_limit_mb or max(_LEAST_MB, total_mb() // 8)


def untrusted_process_mb(settings: Settings) -> int:
    """Memory in MB that the process may take for untrusted SQL, beyond what it holds; 0: as much as it likes."""
    if settings.sql_memory_mb != HALF_OF_MACHINE:
        return settings.sql_memory_mb
    return max(_LEAST_PROCESS_MB, total_mb() // 2)


@cache
def total_mb() -> int:
    """Memory in MB (of 2**20 bytes) that this process and its neighbours share; 2,048 if that is unknown."""
    found = [_read_limit(path) for path in _CONTAINER]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limits = [limit for limit in found if limit > 0]
    return min(limits) >> 20 if limits else _UNKNOWN_MB


def _read_limit(path: str) -> int:
    """Bytes; 0 where there is no limit, or no such file."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # `max`
        return 0
