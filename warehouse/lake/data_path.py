"""Checks that a catalogue and a data path belong together: otherwise maintenance would remove every file that the
catalogue does not list.

The data path has a mark, `lake.json`, with the identity of its lake and its newest snapshot. It is written after each
commit and compared before the next. A lake of an older version has none until its first write.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import duckdb

from warehouse.engine import sql_files
from warehouse.engine.json_values import parse_json
from warehouse.engine.rows import fetch_first
from warehouse.errors import LakeError
from warehouse.filesystem import below
from warehouse.lake.location import CATALOGUE, Location
from warehouse.lake.snapshots import find_catalogue
from warehouse.lake.text_files import read_text, read_text_of_folder, write_text, write_text_of_folder
from warehouse.text import escape_controls

#: The file that names the lake of a data path.
MARK = "lake.json"
#: The advice for an incomplete lake.
RESTORE = "Restore the lake from its last good backup (docs/operations.md, Restoring)"
#: The advice for a damaged one.
EXAMINE = "Examine it, and have repaired what can be:  chest doctor"
#: A path below the data path as DuckLake writes it: nothing that DuckDB would take for a pattern, or, on S3, for an
#: option (`?s3_endpoint=…`).
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_.=%+-]+(/[A-Za-z0-9_.=%+-]+)*/?", re.ASCII)
#: Where a first refresh writes before its first commit: the DICOM dictionary and the number of the schema, not data.
_OF_NEW_LAKES = ("dicom_attributes/", "ops/migrations/")

_SQL = "store/data_path.sql"


def require_unused(con: duckdb.DuckDBPyConnection, location: Location, what: str) -> None:
    """Raise LakeError if a lake is about to be created over the files of another. `what` has the reason."""
    if read_mark(con, location.data_path):
        count = "the files"
    elif n_files := sum(not any(name in path for name in _OF_NEW_LAKES) for path in _list_parquet(con, location)):
        count = f"{n_files:,} Parquet {'file' if n_files == 1 else 'files'}"
    elif above := find_lake_above(con, location):
        raise LakeError(
            f"The data path {location.data_path} is inside that of another lake ({above}), whose maintenance would "
            "remove what is written here. Choose another data path."
        )
    else:
        return
    raise LakeError(
        f"The lake {location.name} cannot be used: {what}, but {location.data_path} has {count} of a lake. "
        f"{RESTORE}; for a new lake, give an empty data path."
    )


def require_match(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Raise LakeError unless the attached catalogue is that of the data path, and as new as its files, which are there.

    For a writer, before it writes anything.
    """
    lake, newest = read_identity(con, location)
    mark = read_mark(con, location.data_path)
    where = location.data_path + MARK
    if mark and mark[0] != lake:
        raise LakeError(
            f"The lake {location.name} cannot be written: the files in {location.data_path} are of another lake "
            f"(according to {where}). Lakes must not share a data path: maintenance of one would remove the files of "
            f"the other. {RESTORE}, or give another data path."
        )
    if mark and mark[1] > newest:
        raise LakeError(
            f"The lake {location.name} cannot be written: its catalogue ends with snapshot {newest}, its files with "
            f"{mark[1]}, so the catalogue is an older copy. Restore catalogue and files together, into a new folder "
            f"(docs/operations.md, Restoring). To continue with the older one and lose later changes, remove {where}."
        )
    _require_files(con, location)


def write_mark(con: duckdb.DuckDBPyConnection, location: Location) -> bool:
    """Write the mark of the data path, and return whether it changed, that is whether something was committed.

    Never fails, because the mark is only a safeguard.
    """
    with contextlib.suppress(duckdb.Error, OSError, LakeError):
        now = read_identity(con, location)
        if read_mark(con, location.data_path) == now:
            return False
        write_text(con, location.data_path + MARK, _render_mark(*now))
    return True


def write_mark_of_folder(data_path: str, lake: str, newest: int) -> None:
    """Write the mark of a data path that is a folder, without a connection; OSError if that fails."""
    write_text_of_folder(Path(data_path, MARK), _render_mark(lake, newest))


def _render_mark(lake: str, newest: int) -> str:
    return json.dumps({"lake": lake, "snapshot": newest})


def require_within(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Raise LakeError if the attached catalogue names a file or folder outside the data path, or beyond a link in it.

    For whoever opens a lake, which may be somebody else's: a query would read that file, or send a request with a login
    to that address, maintenance removes what is marked for that, and a refresh writes where tables are said to be.
    """
    if outside := find_outside(con, location):
        raise LakeError(
            f"The lake {location.name} is not opened: its catalogue names {len(outside):,} "
            f"{'place' if len(outside) == 1 else 'places'} outside its data path, such as "
            f"{escape_controls(outside[0][:200], keep_lines=False)}, which would be read, written to or removed. "
            "Do not use it unless you know why; make a lake of your own from the bucket:  "
            "chest refresh BUCKET --lake DIR"
        )


def require_unlinked(location: Location, what: str = "written") -> None:
    """Raise LakeError if a link at or below the data path may lead to files that are not the lake's."""
    if odd := find_odd_link(location):
        raise LakeError(f"The lake {location.name} cannot be {what}: {odd[0]} {odd[1]}")


def find_odd_link(location: Location) -> tuple[str, str] | None:
    """Whether data of a lake in a folder may be those of somebody else, by a link: what is wrong, and what to do.

    Maintenance removes every Parquet file that the catalogue does not list, a refresh writes into folders by their
    names, and a link of somebody else's lake may lead to one's own files. So the data path may be a link to a folder
    with the mark of a lake, and nothing below it may be one.
    """
    if "://" in location.data_path:
        return None
    linked = Path(location.data_path)
    if location.folder and linked.is_symlink() and (why := _find_fault_of_link(location, linked.resolve())):
        return (
            f"{linked} is a link to {linked.resolve()}, {why}. Maintenance would remove other files there.",
            "If they are the lake's own, move them to the place of the link, or mount them there.",
        )
    try:
        found = below.find_odd_entry(linked)
    except OSError as error:
        raise LakeError(f"{error.filename or linked} cannot be listed: {error.strerror}.") from None
    if found:
        return (
            f"{found[0]} is {found[1]}: what is read or written there would be outside of the lake.",
            "Remove it, or put the lake's own files in its place.",
        )
    return None


def _find_fault_of_link(location: Location, target: Path) -> str:
    if location.folder and location.folder.resolve().is_relative_to(target):
        return "which the lake's own folder is in"
    return "" if read_mark_of_folder(location.data_path) else f"which has no {MARK} of the lake"


def find_outside(con: duckdb.DuckDBPyConnection, location: Location) -> list[str]:
    """The paths that the attached catalogue names and that are not below the data path, links resolved, or that are a
    link or a pipe themselves."""
    query = sql_files.fill(
        sql_files.read_statements(_SQL)["named"],
        catalogue=find_catalogue(location),
        data_path=sql_files.literal(location.data_path),
    )
    root = os.path.realpath(location.data_path)
    resolved: dict[str, bool] = {}

    def is_within(path: str | None) -> bool:
        if path is None or not path.startswith(location.data_path):
            return False
        inner = path[len(location.data_path) :]
        if not _PLAIN_PATH.fullmatch(inner) or {".", ".."} & set(inner.split("/")):
            return False
        if "://" in location.data_path:
            return True
        folder = os.path.dirname(path)  # noqa: PTH120 - of thousands of files
        if folder not in resolved:
            resolved[folder] = os.path.join(os.path.realpath(folder), "").startswith(os.path.join(root, ""))  # noqa: PTH118
        return resolved[folder] and _is_file_or_none(path)

    return sorted({str(path) for (path,) in con.execute(query).fetchall() if not is_within(path)})


def _is_file_or_none(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # it is not there, or its folder is not: a fault of another kind
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def read_identity(con: duckdb.DuckDBPyConnection, location: Location) -> tuple[str, int]:
    """The identity and the newest snapshot of the attached lake; LakeError if it has no snapshot."""
    row = fetch_first(
        con.execute(sql_files.fill(sql_files.read_statements(_SQL)["identity"], catalogue=find_catalogue(location)))
    )
    if row is None or row[1] is None:
        raise LakeError(f"The catalogue of {location.name} is damaged: it has no snapshot. {EXAMINE}")
    return str(row[0]), int(row[1])


def read_mark(con: duckdb.DuckDBPyConnection, data_path: str) -> tuple[str, int] | None:
    """Read the lake and newest snapshot in the mark of a data path; None if there is no mark.

    LakeError if it cannot be read: then the owner of the files is unknown.
    """
    where = data_path + MARK
    try:
        return _parse_mark(where, read_text(con, where))
    except OSError as error:
        raise LakeError(f"{where} cannot be read: {error.strerror}.") from None
    except duckdb.Error as error:
        raise LakeError(f"{where} cannot be read: {str(error).splitlines()[0]}") from None


def read_mark_of_folder(data_path: str) -> tuple[str, int] | None:
    """The same for a data path that is a folder, without a connection."""
    path = Path(data_path, MARK)
    try:
        return _parse_mark(str(path), read_text_of_folder(path))
    except OSError as error:
        raise LakeError(f"{path} cannot be read: {error.strerror}.") from None


def _parse_mark(where: str, text: str | None) -> tuple[str, int] | None:
    try:
        if text is None:
            return None
        mark = parse_json(text)
        return str(mark["lake"]), int(mark["snapshot"])
    except (ValueError, KeyError, TypeError, OverflowError):
        raise LakeError(
            f"{where} does not state which lake its files belong to. If they belong to this catalogue, remove it."
        ) from None


def _require_files(con: duckdb.DuckDBPyConnection, location: Location) -> None:
    """Raise LakeError if files of the newest snapshot are missing or have another size."""
    query = sql_files.fill(
        sql_files.read_statements(_SQL)["live"],
        catalogue=find_catalogue(location),
        data_path=sql_files.literal(location.data_path),
    )
    live = con.execute(query).fetchall()
    if "://" in location.data_path:
        if any(sign in location.data_path for sign in "*?["):
            return
        there = set(_list_parquet(con, location))
        gone, cut = [path for path, _ in live if path not in there], []
    else:
        sizes = {path: _find_size(path) for path, _ in live}
        gone = [path for path, _ in live if sizes[path] is None]
        cut = [path for path, size in live if sizes[path] not in (None, size)]
    if gone or cut:
        what = "are not there" if gone else "have another size than when they were written"
        odd = gone or cut
        raise LakeError(
            f"The lake {location.name} is damaged, or its catalogue is that of another lake: {len(odd):,} of the "
            f"{len(live):,} files that it names {what}, such as {odd[0]}. {EXAMINE}"
        )


def _find_size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - thousands of them, at every start of a refresh
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LakeError(f"{path} cannot be read: {error.strerror}.") from None


def _list_parquet(con: duckdb.DuckDBPyConnection, location: Location) -> Iterator[str]:
    """Every Parquet file below the data path."""
    if "://" in location.data_path:
        pattern = sql_files.literal(f"{location.data_path}**/*.parquet")
        query = sql_files.fill(sql_files.read_statements(_SQL)["stored"], pattern=pattern)
        try:
            yield from (path for (path,) in con.execute(query).fetchall())
        except duckdb.Error as error:
            raise LakeError(f"{location.data_path} cannot be listed: {str(error).splitlines()[0]}") from None
    else:
        for folder, _, names in os.walk(location.data_path, onerror=_raise):
            yield from (f"{folder}/{name}" for name in names if name.endswith(".parquet"))


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise LakeError(f"{error.filename} cannot be listed: {error.strerror}.") from None


def find_lake_above(con: duckdb.DuckDBPyConnection, location: Location) -> str:
    """The data path of a lake that contains this one, else ""."""
    start, sign, rest = location.data_path.rpartition("://")
    first = 1 if sign else 0  # a bucket's name is part of every path
    parents = [f"{parent}".rstrip("/") for parent in PurePosixPath(rest.rstrip("/")).parents]
    for parent in parents[: len(parents) - first]:
        path = f"{start}{sign}{parent}/"
        if read_mark(con, path):
            return path
    return ""


def describe_missing(location: Location) -> str:
    """Why a lake in a folder has no catalogue: the file is missing or empty."""
    return f"{CATALOGUE} is {'empty' if location.catalogue.exists() else 'missing'}"
