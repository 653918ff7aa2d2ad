"""Backs up a lake with a SQLite catalogue: a folder that is a lake itself, and that a later backup only adds to.

A refresh may run meanwhile. The catalogue is copied first, in one consistent piece, then the files that the copy
names; data files are never changed, so no lock is needed. Only maintenance deletes files: when one is gone before it
was copied, all is done again with the catalogue of that moment, which does not name it any more. The new catalogue
takes the place of the old one last, so a backup that was broken off leaves the one before it whole.

    BACKUP.txt   says what this is          catalog.sqlite, data/…   the lake
    SHA256SUMS   as `sha256sum -c` reads it; a later backup trusts them for files it has already
"""

from warehouse.lake.backup.create import Backup, backup
from warehouse.lake.backup.migrate_to_postgres import Moved, move
from warehouse.lake.backup.verification import Verified, verify

__all__ = ["Backup", "Moved", "Verified", "backup", "move", "verify"]
