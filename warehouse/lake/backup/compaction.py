"""Compacts a SQLite catalogue: a script that a purge runs in a process of its own.

VACUUM writes the file anew, without the pages that hold deleted rows; sqlite_catalog.py gives the reason for a process.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from pathlib import Path

_SECONDS = 60.0


def main() -> int:
    """Compact the catalogue whose path is on stdin; 1 and a line on stderr if that fails."""
    path = Path(json.load(sys.stdin))
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_SECONDS)
        ) as con:
            con.execute("vacuum")
    except sqlite3.Error as error:
        sys.stderr.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
