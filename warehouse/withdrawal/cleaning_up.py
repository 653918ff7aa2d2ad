"""What a purge does after the catalogue has changed: removes the old files, compacts the catalogue, renews backups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import sql_files
from warehouse.engine.programs import run_apart
from warehouse.errors import WarehouseError
from warehouse.lake import backup, locks, waiting
from warehouse.lake.backup import compaction
from warehouse.lake.backup.contents import MARK
from warehouse.lake.backup.known import list_known
from warehouse.withdrawal import catalogue as catalogues

if TYPE_CHECKING:
    from warehouse.lake.location import Location
    from warehouse.settings import Settings

_SQL = "withdrawal/proof.sql"


@dataclass(frozen=True, slots=True)
class KnownBackup:
    """A backup that was made of the lake, and why it could not be renewed; "" if it was."""

    folder: str
    problem: str


def remove_files(place: Location, settings: Settings) -> list[str]:
    """Remove the files that no snapshot names any longer, those of maintenance too, and those that none ever did."""
    sql = sql_files.read_statements(_SQL)
    with waiting.open_writer(place, settings) as con:
        removed = [str(path) for (path,) in con.execute(sql["cleanup"]).fetchall()]
        query = sql_files.fill(sql["orphans"], dry_run="false")
        return removed + [str(path) for (path,) in con.execute(query).fetchall()]


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
    for folder in dict.fromkeys([*(str(Path(each).absolute()) for each in folders), *list_known(place)]):
        problem = ""
        if not (Path(folder) / MARK).exists():
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
