"""The required contents of a backup: the files that a catalogue lists, and their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.engine.programs import run_apart
from warehouse.engine.sql_files import read_statements
from warehouse.errors import DamagedError, LakeError
from warehouse.filesystem import below, files
from warehouse.lake import connection, file_records, journals, stored_sql
from warehouse.lake.backup import sqlite_catalog
from warehouse.lake.location import Location
from warehouse.settings import Settings
from warehouse.text import escape_controls

#: Marks a folder as a backup.
MARK = "BACKUP.txt"
#: As `sha256sum` writes and checks it.
SUMS = "SHA256SUMS"
#: How much of a catalogue may be free pages: later commits fill them again.
_FREE_PART = 0.25
#: The folder of a lake's data files.
DATA = "data/"
#: The paths below it that DuckLake and this package give to files: in folders, none of them hidden.
_OWN_PATH = re.compile(
    r"(?:[^/\\\x00-\x1f.][^/\\\x00-\x1f]*/)+ducklake-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:-delete)?\.parquet"
)
#: More than the checksums of any backup have.
_MOST_SUMS = 256 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a catalogue: the size by path of each file, the lake's identity, its snapshots, its checksum."""

    files: dict[str, int]
    identity: str
    newest: int
    published: int | None
    sha256: str
    is_sound: bool


def _request(catalogue: Path, **asked: object) -> dict[str, Any]:
    """What another process reads of a catalogue, or how it is damaged (`fault`).

    LakeError if that process cannot do it (the catalogue stays locked, memory runs out): no damage is shown by this.
    """
    journals.require_own_files(catalogue)
    request = {"catalogue": str(catalogue), "plain": stored_sql.PLAIN_ENTRY, **asked}
    answer: dict[str, Any] = run_apart(sqlite_catalog.__file__, request, f"reading the catalogue {catalogue}")
    return answer


def _ask(catalogue: Path, **asked: object) -> dict[str, Any]:
    """The same; DamagedError if the catalogue is damaged."""
    answer = _request(catalogue, **asked)
    if fault := answer.get("fault"):
        raise DamagedError(
            f"The catalogue {catalogue} cannot be read: {fault}. Examine it:  chest doctor --lake {catalogue.parent}"
        )
    return answer


def check_integrity(catalogue: Path) -> list[str]:
    """What SQLite finds wrong with the pages of a catalogue; empty if nothing. LakeError if it cannot be examined."""
    answer = _request(catalogue, queries={"integrity": read_statements("backup/catalogue.sql")["integrity"]}, copy=None)
    found = [answer["fault"]] if "fault" in answer else [line for (line,) in answer["integrity"]]
    return [] if found == ["ok"] else found


def shrink_catalogue(catalogue: Path) -> bool:
    """Shrink a catalogue of which more than a quarter is free pages; whether it was done. LakeError if it cannot be.

    With the writer's lock, and with no lake attached in this process.
    """
    return bool(_ask(catalogue, shrink=_FREE_PART)["is_shrunk"])


def read_contents(catalogue: Path, copy: Path | None = None) -> Content:
    """The content of a catalogue; with `copy`, of a consistent copy made there. DamagedError when it cannot be read."""
    queries = read_statements("backup/catalogue.sql")
    answer = _ask(catalogue, copy=str(copy) if copy else None, queries=queries)
    if odd := [path for path, size in answer["files"] if not is_own_path(path) or type(size) is not int or size < 0]:
        raise LakeError(
            f"{catalogue} lists what is no data file in the lake's folder, such as "
            f"{escape_controls(str(odd[0] or 'a file by its whole path')[:200], keep_lines=False)}. "
            "Such a lake can be neither backed up with chest backup nor restored."
        )
    return Content(
        files=dict(answer["files"]),
        identity=answer["identity"][0][0],
        newest=answer["newest"][0][0],
        published=answer["published"][0][0],
        sha256=answer["sha256"],
        is_sound=answer["integrity"] == [["ok"]],
    )


def read_checksums(target: Path) -> dict[str, str]:
    """The checksums of the last backup, by name; empty for a new one. LakeError if they cannot be read."""
    try:
        lines = below.read_small(target, SUMS, _MOST_SUMS).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LakeError(f"{target / SUMS} cannot be read: {error.strerror}.") from None
    return {name: found for found, _, name in (line.partition("  ") for line in lines)}


def is_own_path(path: object) -> bool:
    """Whether this is the path of a data file below a data path, as a lake of ours has it."""
    return isinstance(path, str) and bool(_OWN_PATH.fullmatch(path))


def find_odd_entry(target: Path) -> str:
    """What in the data of a backup is a link or the like, as a sentence; "" if nothing is. LakeError if that cannot be
    listed."""
    data = target / DATA
    try:
        found = (str(data), "a link") if data.is_symlink() else below.find_odd_entry(data)
    except OSError as error:
        raise LakeError(f"{error.filename or data} cannot be listed: {error.strerror}.") from None
    return f"{found[0]} is {found[1]}, which no backup has." if found else ""


def compute_digest(root: Path, name: str) -> str:
    """The SHA-256 of a file below a folder, which must not be the catalogue of a lake (sqlite_catalog.py gives the
    reason); OSError if it cannot be read, or is a link."""
    with below.open_below(root, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(root: Path, name: str, target: Path, size: int, digest: str = "") -> str | None:
    """Copy a file below a folder, atomically; returns its SHA-256.

    None, and no copy, if it has another size, or another digest than this one. FileNotFoundError if it is not there,
    LakeError if it cannot be read or is a link, OSError if the copy cannot be written.
    """
    try:
        given = below.open_below(root, name)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LakeError(f"{root / name} cannot be read: {error.strerror}.") from None
    hashed = hashlib.sha256()
    with contextlib.suppress(_OtherFileError), given, files.write_atomically(target, may_stream=False) as taken:
        while taken.tell() <= size and (chunk := given.read(_CHUNK)):
            hashed.update(chunk)
            taken.write(chunk)
        if taken.tell() != size or digest not in ("", hashed.hexdigest()):
            raise _OtherFileError
        return hashed.hexdigest()
    return None


class _OtherFileError(Exception):
    """A file is not the one that was to be copied."""


def read_written(catalogue: Path, data: str, settings: Settings) -> dict[str, str]:
    """The SHA-256 with which the lake's files were written, by path below `data`, from a copy of its catalogue.

    Empty for a lake of an older version; without ops.files where its own files cannot be read.
    """
    place = Location(str(catalogue.parent), data, catalogue.parent)
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        return {path: one.sha256 for path, one in file_records.read_trusted_records(con, place).items()}
