"""Where DuckDB puts what does not fit into memory: a folder for each connection, that nobody else may read.

DuckDB names its temporary files alike in every process: two that share a folder overwrite each other's data.
"""

from __future__ import annotations

import itertools
import os
from functools import cache

from warehouse.filesystem import files

_numbers = itertools.count()


def find_spill_folder() -> str:
    """A folder for one connection, not there yet (DuckDB makes it); it goes when the process ends."""
    return os.path.join(_find_root(os.getpid()), str(next(_numbers)))  # noqa: PTH118


@cache
def _find_root(process: int) -> str:  # noqa: ARG001 - a child that inherits the cache makes its own
    return files.make_temporary_folder()
