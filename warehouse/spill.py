"""Where DuckDB puts what does not fit into memory: a folder for each connection, that nobody else may read.

DuckDB names its temporary files alike in every process: two that share a folder overwrite each other's data.
"""

import atexit
import itertools
import os
import shutil
import tempfile
from functools import cache

_numbers = itertools.count()


def folder() -> str:
    """A folder for one connection, not there yet (DuckDB makes it); it goes when the process ends."""
    return os.path.join(_root(os.getpid()), str(next(_numbers)))  # noqa: PTH118


@cache
def _root(process: int) -> str:
    root = tempfile.mkdtemp(prefix="chest-spill-")

    def remove() -> None:
        if os.getpid() == process:  # not in a child that inherited this
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    return root
