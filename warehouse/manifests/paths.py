"""Maps objects to paths in a download folder: no key leads out of it, and no two objects share a file."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.engine import sql_files

if TYPE_CHECKING:
    import duckdb

#: Keys that must not become paths: empty segments, `.` and `..`, a leading `/`, control characters, and what
#: Windows reads as a drive or as a separator. Has the same meaning in Python and in DuckDB's RE2.
UNSAFE = r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f\\]|^[A-Za-z]:"

_UNSAFE = re.compile(UNSAFE)
_DOTS = re.compile(r"(^|/)\.{0,2}(/|$)")

#: The folder beside the objects for a download's own files, and the file that marks a download as incomplete.
OWN = ".chest"
INCOMPLETE = "INCOMPLETE"
#: The tables of paths in a download folder whose layout is not that of the keys.
TABLES = ("files.parquet", "files.csv")

OUTSIDE = "would be written outside the folder"
RESERVED = "has a name that is reserved for the download's own files"
SHARED = "would become the same file as another object"
ABOVE = "would be a file where another object needs a folder"
TOO_LONG = "has a longer path than the file system allows"
REFUSED = "has a name that the file system does not allow"

#: Names that a file system may change or refuse, and that are therefore tried: Windows devices, its special characters,
#: endings that it drops, and non-ASCII names.
_ODD = r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)|[. ]$|[^\x20-\x7e]|[<>:\"|?*]"
#: Names that it may refuse for their length alone: one of each length is tried.
_LONG = 100
#: The most unusual names that are tried; others fail when they are written.
_TRIED = 10_000
#: The most folders that are remembered as inside the folder.
_MOST_RESOLVED = 10_000


@lru_cache(maxsize=1024)
def is_reserved(name: str, more: tuple[str, ...] = ()) -> bool:
    """Whether a name is that of one of the download's own files, or of `more`, in any case or Unicode form."""
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    return seen.casefold().rstrip(". ") in (OWN, INCOMPLETE.casefold(), *more)


def is_safe(path: str) -> bool:
    """Whether a text may be used as a path below a download folder."""
    return bool(path) and not _UNSAFE.search(path) and not is_reserved(path.split("/", 1)[0])


def has_dots(prefix: str) -> bool:
    """Whether a prefix of keys would lead out of a folder: it has an empty segment, `.` or `..`."""
    return _DOTS.search(prefix.removesuffix("/")) is not None


def find_target(folder: Path, path: str) -> Path | None:
    """Find the path of an object; None if its path is unsafe or a link in the folder leads out of it."""
    return Targets(folder).find(path)


class Targets:
    """Finds the paths of many objects in a folder; each folder below is resolved once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._whole = folder, folder.resolve()
        self._inside: dict[str, bool] = {}

    def find(self, path: str) -> Path | None:
        """Find the path of an object; None as in `find_target`."""
        if not is_safe(path):
            return None
        above = path.rpartition("/")[0]
        is_inside = self._inside.get(above)
        if is_inside is None:
            is_inside = (self._folder / above).resolve().is_relative_to(self._whole)
            if len(self._inside) > _MOST_RESOLVED:
                self._inside.clear()
            self._inside[above] = is_inside
        return self._folder / path if is_inside else None


def find_unwritable(
    con: duckdb.DuckDBPyConnection,
    rows: str,
    folders: dict[str, str],
    data: Path,
    trial: Path,
    *,
    folds: bool | None = None,
    path: str = "",
) -> dict[str, str]:
    """Find the URIs of a manifest's objects that cannot be written below a folder, and why; makes table `targets`.

    `folders` has the folder of each source if there are several. `trial` is an empty folder on the same file system, in
    which names are tried. `folds`: whether names that differ in case are the same; by default, as the file system.
    `path` is the column of `rows` that has the paths; by default, the keys are the paths.
    """
    sql = sql_files.read_statements("manifests/paths.sql")
    many = folders if len(folders) > 1 else {}
    by_key = {} if path else {"homes": [*many], "folders": [*many.values()]}
    taken = TABLES if path else ()
    con.execute(
        sql_files.fill(
            sql["targets"],
            rows=rows,
            path=sql_files.identifier(path)
            if path
            else sql_files.read_expression("expressions/paths.sql", "path_by_key"),
        ),
        {**by_key, "folds": folds_names(trial) if folds is None else folds},
    )
    first = [name for (name,) in con.execute(sql["first_segments"]).fetchall()]
    odd = [name for (name,) in con.execute(sql["segments"], {"odd": _ODD, "most": _TRIED}).fetchall()]
    plain: dict[str, Any] = {"odd": _ODD, "long": _LONG}
    lengths = [len(name) for (name,) in con.execute(sql["lengths"], plain).fetchall() if not takes_name(trial, name)]
    asked: tuple[tuple[str, dict[str, Any] | None, str], ...] = (
        ("unsafe", {"unsafe": UNSAFE}, OUTSIDE),
        ("reserved", {"names": [name for name in first if is_reserved(name, taken)]}, RESERVED),
        ("shared", None, SHARED),
        ("above", None, ABOVE),
        ("long", {"most": _find_longest_name(trial) - len(os.fsencode(data.absolute())) - 1}, TOO_LONG),
        ("refused", {"names": [name for name in odd if not takes_name(trial, name)]}, REFUSED),
        ("refused_by_length", {**plain, "lengths": lengths}, REFUSED),
    )
    found: dict[str, str] = {}
    for name, parameters, reason in asked:
        for (uri,) in con.execute(sql[name], parameters).fetchall():
            found.setdefault(uri, reason)
    return found


def folds_names(trial: Path) -> bool:
    """Whether the file system of a folder ignores differences in case or Unicode normal form."""
    name = trial / "e\u0301"
    name.touch()
    try:
        return any((trial / other).exists() for other in ("E\u0301", "\u00e9"))
    finally:
        name.unlink()


def takes_name(trial: Path, name: str) -> bool:
    """Whether the file system of an empty folder keeps a name unchanged."""
    place = trial / name
    try:
        place.touch(exist_ok=False)
    except (OSError, ValueError):
        return False
    try:
        return os.listdir(trial) == [name]  # noqa: PTH208 - a name, not a path
    finally:
        with contextlib.suppress(OSError):
            place.unlink()


def _find_longest_name(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_PATH_MAX") - 1
    except (AttributeError, OSError, ValueError):  # not on Windows
        return 32_000 if os.name == "nt" else 4_095
