"""Backs up a lake with a SQLite catalogue to a folder that is itself a lake, incrementally.

A refresh may run at the same time. The catalogue is copied first, consistently, then the files that the copy lists;
data files never change, so no lock is needed. Only maintenance deletes files: if one is deleted before it was copied,
the backup starts again with the new catalogue, which no longer lists it. The new catalogue replaces the old one last,
so an interrupted backup leaves the previous one intact.

    BACKUP.txt   describes the folder          catalog.sqlite, data/…   the lake
    SHA256SUMS   as `sha256sum -c` reads it; a later backup trusts them for files it has already
"""

from warehouse.lake.backup.create import Backup, backup
from warehouse.lake.backup.migrate_to_postgres import Moved, move
from warehouse.lake.backup.verification import Verified, verify

__all__ = ["Backup", "Moved", "Verified", "backup", "move", "verify"]
