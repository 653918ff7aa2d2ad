"""Copies, queries and shrinks a SQLite catalogue: a script that contents.py runs in a separate process.

A process that has attached a lake must not open its catalogue again: closing the second handle drops the locks of the
first, and commits are lost. So a child process does this in any case. It uses only the standard library; the request is
JSON on stdin, the answer JSON on stdout.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

#: A writer locks the catalogue for some milliseconds per commit; merging metadata of a large lake may take longer.
_SECONDS = 60.0
#: What SQLite reports of the moment or of the machine, not of the catalogue; anything else is damage.
_PASSING = frozenset(
    (
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT),
    )
)


def copy(catalogue: Path, plain: str, target: Path) -> None:
    """Write a consistent copy of the catalogue, even during writes."""
    # Not mode=ro: the transaction of a killed writer must be rolled back first.
    with contextlib.closing(_open(catalogue, plain)) as con:
        con.execute("vacuum into ?", [str(target)])


def shrink(catalogue: Path, plain: str, least: float) -> dict[str, Any]:
    """Give the free pages of the catalogue back to the disk, if they are more than this part of it. It is whole at any
    moment: SQLite writes a journal first. Readers of this moment wait, as for a commit."""
    with contextlib.closing(_open(catalogue, plain)) as con:
        (free,), (pages,) = (con.execute(f"pragma {name}").fetchone() for name in ("freelist_count", "page_count"))
        if is_due := free > least * pages:
            con.execute("vacuum")
    return {"is_shrunk": is_due}


def query(catalogue: Path, plain: str, queries: dict[str, str]) -> dict[str, Any]:
    """The rows of each query, and the SHA-256 of the file."""
    with catalogue.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.closing(_open(catalogue, plain)) as con:  # for the same reason
        return {"sha256": digest} | {name: con.execute(query).fetchall() for name, query in queries.items()}


def _open(catalogue: Path, plain: str) -> sqlite3.Connection:
    """Open a catalogue; sqlite3.DatabaseError if it has views or the like, which could run for ever: anything but what
    the pattern of its entries allows (stored_sql.py)."""
    con = sqlite3.connect(f"{catalogue.absolute().as_uri()}?mode=rw", uri=True, timeout=_SECONDS)
    try:
        for kind, name, text in con.execute("select type, name, sql from sqlite_master"):
            if not re.fullmatch(plain, f"{kind} {name}" if text is None else f"{kind}: {text}"):
                raise sqlite3.DatabaseError(
                    f"it is not opened, because it has more than plain tables, the {kind} {name!a}"
                )
    except BaseException:
        con.close()
        raise
    return con


def main() -> int:
    """Do what stdin asks for: `{"catalogue": …, "plain": …, "copy": … or null, "queries": {…}}`, or `"shrink": part`
    instead of the last two; `{"fault": …}` if the catalogue is damaged, 1 and a line on stderr if it cannot be
    examined."""
    request = json.load(sys.stdin)
    catalogue, plain = Path(request["catalogue"]), request["plain"]
    try:
        if "shrink" in request:
            json.dump(shrink(catalogue, plain, request["shrink"]), sys.stdout)
            return 0
        if request["copy"]:
            copy(catalogue, plain, Path(request["copy"]))
            catalogue = Path(request["copy"])
        json.dump(query(catalogue, plain, request["queries"]), sys.stdout)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            sys.stderr.write(str(error))
            return 1
        json.dump({"fault": str(error)}, sys.stdout)
    except OSError as error:
        sys.stderr.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
