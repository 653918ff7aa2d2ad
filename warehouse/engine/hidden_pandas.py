"""Hides pandas from the libraries that a command or a worker process uses, except from those that need it.

Where it is installed, DuckDB and pyarrow import it as soon as a value is bound, to check for pandas types: a third of a
second and 40 MB for something that no command but one uses. In a process of somebody else it stays as it is.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class _WithoutPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        if fullname == "pandas":
            raise ModuleNotFoundError("chest does not use pandas", name=fullname)


def hide_pandas() -> None:
    """Let `import pandas` fail from now on."""
    sys.meta_path.insert(0, _WithoutPandas())


def show_pandas() -> None:
    """Let it succeed again, for PySpark, which does not work without."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _WithoutPandas)]
