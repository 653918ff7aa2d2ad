"""Describes the machine and the versions that a benchmark runs with: nothing that names the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from warehouse.version import __version__

_LIBRARIES = ("duckdb", "pyarrow", "polars", "obstore", "pydicom", "boto3")


def describe() -> dict[str, Any]:
    """Cores, memory in GB, kernel and processor; versions; the day of the commit; the load of the last minute."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "processor": _find_processor(),
        "python": platform.python_version(),
        "warehouse": __version__,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "commit": _find_commit_day(),
        "load": round(os.getloadavg()[0], 2),
    }


def _find_processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _find_commit_day() -> str:
    command = ["git", "log", "-1", "--format=%cs"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return found.stdout.strip()
