"""The required contents of a backup: the files that a catalogue lists, and their checksums."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.engine.programs import run_apart
from warehouse.engine.sql_files import read_statements
from warehouse.errors import DamagedError, LakeError
from warehouse.lake import connection, file_records, journals, stored_sql
from warehouse.lake.backup import sqlite_catalog
from warehouse.lake.location import Location
from warehouse.settings import Settings

#: Marks a folder as a backup.
MARK = "BACKUP.txt"
#: As `sha256sum` writes and checks it.
SUMS = "SHA256SUMS"
#: How much of a catalogue may be free pages: later commits fill them again.
_FREE_PART = 0.25
#: The folder of a lake's data files.
DATA = "data/"


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
    journals.require_own_journals(catalogue)
    request = {"catalogue": str(catalogue), "odd": stored_sql.find_odd_entries("sqlite_master"), **asked}
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
    if any(path is None or path.startswith("/") or ".." in path.split("/") for path, _ in answer["files"]):
        raise LakeError(
            f"{catalogue} lists files outside the lake's folder. Such a lake cannot be backed up with chest backup."
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
    """The checksums of the last backup, by name; empty for a new one."""
    with contextlib.suppress(FileNotFoundError):
        lines = (target / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
        return {name: found for found, _, name in (line.partition("  ") for line in lines)}
    return {}


def compute_digest(path: Path) -> str:
    """The SHA-256 of a file, which must not be the catalogue of a lake (sqlite_catalog.py gives the reason)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_written(catalogue: Path, data: str, settings: Settings) -> dict[str, str]:
    """The SHA-256 with which the lake's files were written, by path below `data`, from a copy of its catalogue.

    Empty for a lake of an older version; without ops.files where its own files cannot be read.
    """
    place = Location(str(catalogue.parent), data, catalogue.parent)
    with contextlib.closing(connection.connect(settings, place)) as con:
        connection.attach(con, place, "read_only")
        return {path: one.sha256 for path, one in file_records.read_trusted_records(con, place).items()}
