"""What the doctor finds: one fault, where it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from warehouse.lake.listed_files import ListedFile

#: What is added to the name of a damaged file that is kept.
ASIDE = ".damaged"
#: Tables whose rows a refresh loads again from the bucket, or that it reads again from what was loaded.
RELOADABLE = frozenset(
    ("raw.objects", "raw.headers", "raw.records", "core.images", "core.clinical", "core.clinical_issues", "ops.rejects")
)
#: Tables that the repair itself fills again.
REWRITTEN = frozenset(("core.dicom_attributes", "ops.migrations", "ops.files"))
#: Where the files of the standing list are, below the data path. What they have is entered in the list before one is
#: removed that no snapshot lists (withdrawal/repairing.py).
STANDING_LIST = "access/withdrawals/"


class Kind(StrEnum):
    """The kinds of findings."""

    MISSING = "missing"  # a file that the catalogue lists
    DAMAGED = "damaged"  # a file with other bytes than were written
    CATALOGUE = "catalogue"
    VERSION = "version"
    PLACE = "place"  # two lakes on a data path, or a catalogue that is older than its files
    ORPHAN = "orphan"  # a file that no snapshot lists
    LEFTOVER = "leftover"  # a temporary file of a process that has ended


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault in one line each: `what` it is, `where`, and what to `do`. `file` is the listed file that it is about."""

    kind: Kind
    where: str
    what: str
    do: str
    file: ListedFile | None = field(default=None, repr=False)

    @property
    def is_of_data(self) -> bool:
        """Whether the bytes of a listed file are lost."""
        return self.kind in (Kind.MISSING, Kind.DAMAGED)


def advise(file: ListedFile) -> str:
    """What to do about a listed file whose bytes are lost."""
    if not file.is_live:
        return (
            "The newest state does not need it. Put it back from a backup:  chest doctor --repair --from-backup DIR  "
            "or let these snapshots expire:  chest maintain --keep-days N"
        )
    if file.table in RELOADABLE:
        return "Drop it, and load its rows again from the bucket:  chest doctor --repair --source BUCKET"
    if file.table in REWRITTEN:
        return "Have it written again:  chest doctor --repair"
    return (
        f"Only a backup has the rows of {file.table or 'its table'}:  chest doctor --repair --from-backup DIR  Without "
        "one, give them up:  chest doctor --repair --accept-loss"
    )
