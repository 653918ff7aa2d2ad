"""Examines a lake: its catalogue, every byte of its files, and what lies around it. Changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb

from warehouse.engine.faults import explain_faults
from warehouse.engine.messages import first_line
from warehouse.errors import LakeError
from warehouse.lake import connection, optimisers, store
from warehouse.lake.doctor import catalogue, contents, surroundings
from warehouse.lake.doctor.findings import Finding, Kind
from warehouse.lake.listed_files import ListedFile, list_files
from warehouse.lake.location import Location, parse_address
from warehouse.lake.snapshots import list_snapshots
from warehouse.lake.stored_files import open_storage
from warehouse.progress import Progress, ignore_progress
from warehouse.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Report:
    """What was examined and found. `compared` files have the checksum that was recorded; `unrecorded` files have none
    yet and could be read. `snapshot` is the newest published one, -1 if unknown; `note` names who is writing."""

    lake: str
    snapshot: int
    files: int
    bytes: int
    compared: int
    unrecorded: int
    findings: tuple[Finding, ...]
    note: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def is_readable(self) -> bool:
        """Whether the catalogue could be read, so that the files were examined."""
        return self.files >= 0


@explain_faults()
def examine(
    lake_address: str = "", *, settings: Settings | None = None, progress: Progress = ignore_progress
) -> Report:
    """Examine a lake without changing it; a refresh may run at the same time.

    Raises LakeError if there is no lake, or its PostgreSQL or S3 does not respond.
    """
    settings = settings or load_settings()
    return examine_place(parse_address(lake_address or settings.lake), settings, progress)


def examine_place(place: Location, settings: Settings, progress: Progress, *, is_locked: bool = False) -> Report:
    """The same for a parsed address; `is_locked` if the caller holds the writer's lock."""
    left_over = surroundings.find_leftovers(place)  # before a connection of this process removes them
    if place.folder and not place.catalogue.exists() and not any((place.folder / "data").rglob("*.parquet")):
        store.require(place)
    progress("reading the catalogue", 0, 0)
    if faults := catalogue.find_file_faults(place):
        return _report_unreadable(place, [*faults, *left_over])
    with contextlib.closing(connection.connect(settings, place)) as con:
        try:
            connection.attach(con, place, "read_only")
        except LakeError as error:
            if place.is_postgres:
                raise
            what = f"The catalogue cannot be opened: {error}"
            return _report_unreadable(
                place, [Finding(Kind.CATALOGUE, place.catalogue.name, what, catalogue.RESTORE), *left_over]
            )
        optimisers.ignore_statistics(con)
        report = _examine_attached(con, place, settings, progress, is_locked=is_locked)
    return replace(report, findings=(*report.findings, *left_over))


def _report_unreadable(place: Location, findings: Sequence[Finding]) -> Report:
    return Report(place.name, -1, -1, 0, 0, 0, tuple(findings))


def _examine_attached(
    con: duckdb.DuckDBPyConnection, place: Location, settings: Settings, progress: Progress, *, is_locked: bool
) -> Report:
    try:
        findings = list(catalogue.find_faults(con, place))
        files, history = list_files(con, place), list_snapshots(con)
    except duckdb.Error as error:
        if place.is_postgres:
            raise
        what = f"The catalogue cannot be read: {first_line(error)}"
        return _report_unreadable(place, [Finding(Kind.CATALOGUE, place.catalogue.name, what, catalogue.RESTORE)])
    storage = open_storage(place, settings)
    progress("listing files", 0, 0)
    stored = storage.list_files()
    findings += catalogue.find_place_faults(con, place, stored)
    examined = contents.examine_files(con, place, storage, files, stored, history, progress)
    findings += _drop_passed(con, place, examined.findings)
    note = "" if is_locked else surroundings.describe_lock(con, place)
    if not note:
        findings += surroundings.find_orphans(con, place, [*files, *list_files(con, place)], stored)
    return Report(
        place.name,
        store.find_unpublished(history)[0],
        len(files),
        sum(file.size for file in files),
        examined.compared,
        examined.unrecorded,
        tuple(findings),
        note,
    )


def _drop_passed(con: duckdb.DuckDBPyConnection, place: Location, findings: list[Finding]) -> list[Finding]:
    """Leave out files that maintenance has removed while they were examined."""
    if not findings:
        return []
    listed: set[ListedFile] = set(list_files(con, place))
    paths = {file.path for file in listed}
    return [found for found in findings if found.file is None or found.file.path in paths]
