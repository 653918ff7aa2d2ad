"""What a purge does after the catalogue has changed: removes the old files, compacts the catalogue, renews backups."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.programs import run_apart
from warehouse.errors import WarehouseError
from warehouse.filesystem import below, leftovers
from warehouse.lake import backup, locks, waiting
from warehouse.lake.backup import compaction
from warehouse.lake.backup.contents import MARK
from warehouse.lake.backup.known import list_known
from warehouse.lake.doctor.findings import ASIDE
from warehouse.lake.doctor.surroundings import list_temporary_places
from warehouse.lake.location import CATALOGUE
from warehouse.lake.stored_files import open_storage
from warehouse.withdrawal import catalogue as catalogues

if TYPE_CHECKING:
    from warehouse.lake.location import Location
    from warehouse.lake.stored_versions import Versions
    from warehouse.settings import Settings

_SQL = "withdrawal/proof.sql"


@dataclass(frozen=True, slots=True)
class KnownBackup:
    """A backup that was made of the lake, and why it could not be renewed; "" if it was."""

    folder: str
    problem: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The files that were removed; and what a bucket kept of such files, None for a folder."""

    files: list[str]
    versions: Versions | None = None


def remove_files(place: Location, settings: Settings) -> Removed:
    """Remove the files that no snapshot names any longer, those of maintenance too, and those that none ever did; what
    a repair has set aside, what processes that were killed have left behind, and earlier versions in a bucket."""
    sql = sql_files.read_statements(_SQL)
    with waiting.open_writer(place, settings) as con:
        removed = [str(path) for (path,) in con.execute(sql["cleanup"]).fetchall()]
        query = sql_files.fill(sql["orphans"], dry_run="false")
        removed += [str(path) for (path,) in con.execute(query).fetchall()]
        storage = open_storage(place, settings)
        for name in storage.list_files():
            if name.endswith(ASIDE):
                storage.remove(name)
                removed.append(place.data_path + name)
        for path in place.folder.glob(f"*{ASIDE}") if place.folder else ():
            if below.find_size(path) is not None:  # else it is none of ours
                path.unlink(missing_ok=True)
                removed.append(str(path))
        for folder in (*list_temporary_places(place), tempfile.gettempdir()):
            leftovers.remove_dead(folder)
        if not place.data_path.startswith("s3://"):
            return Removed(removed)
        from warehouse.lake.stored_versions import remove_versions

        return Removed(removed, remove_versions(place))


def describe_left(place: Location, removed: Removed) -> list[str]:
    """What a bucket did not let go, as a finding: nobody has read it, so nothing proves that it names nobody."""
    if not removed.versions or not removed.versions.left:
        return []
    return [
        f"{place.data_path}: {removed.versions.left:,} earlier versions or unfinished uploads of files of the lake are "
        f"left ({removed.versions.why}). Remove them, or let the purge do it: s3:ListBucketVersions, "
        "s3:DeleteObjectVersion, s3:AbortMultipartUpload"
    ]


def compact_catalogue(place: Location, settings: Settings) -> None:
    """Write the catalogue anew, so that no page or row version of it holds what was removed."""
    with locks.hold_lock(place, settings):
        if not place.is_postgres:
            run_apart(compaction.__file__, str(place.catalogue), f"compacting the catalogue {place.catalogue}")
            return
    with catalogues.open_catalogue(place, settings) as catalogue:
        catalogue.compact()


def renew_backups(place: Location, settings: Settings, folders: Iterable[Path]) -> list[KnownBackup]:
    """Bring the backups of a lake up to date, those given and those that it remembers; they lose what it lost."""
    if place.folder is None:
        return []
    found = []
    given = [str(Path(each).absolute()) for each in folders]
    for folder in dict.fromkeys([*given, *list_known(place)]):
        problem = ""
        # The list may be that of somebody else's lake: a backup that was finished has a catalogue, which is compared.
        expected = (MARK,) if folder in given else (MARK, CATALOGUE)
        if not all((Path(folder) / name).exists() for name in expected):
            problem = "it is not there now, or is no backup"
        else:
            try:
                backup.backup(folder, place.name, settings=settings)
            except WarehouseError as error:
                problem = str(error)
        found.append(KnownBackup(folder, problem))
    return found


def list_renewed(known: Sequence[KnownBackup]) -> list[str]:
    """The folders of the backups that were brought up to date."""
    return [one.folder for one in known if not one.problem]
