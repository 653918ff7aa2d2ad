"""What a worker gets and returns: a unit of objects, and the receipt of what became of it. All of it can be pickled."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from warehouse.ingest.units.layouts import Layout
from warehouse.lake.stored_files import Checksum
from warehouse.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Work:
    """What all units of a refresh have in common: the bucket, and where and how the lake has its files."""

    source: str
    data_path: str
    layouts: dict[str, Layout]
    settings: Settings


@dataclass(frozen=True, slots=True)
class UnitTask:
    """A unit to be loaded: its planned objects, and the total size of their contents in bytes.

    `id` is the same for the same objects with the same contents, in whatever refresh.
    """

    id: str
    objects: pa.Table
    size: int

    @classmethod
    def of(cls, objects: pa.Table) -> UnitTask:
        """The unit of some planned objects."""
        import pyarrow.compute as pc

        digest = hashlib.sha256()
        for name in ("key", "etag"):
            texts = objects.column(name).to_pylist()
            # The lengths first, so that no two lists of texts are alike; all at once, as there are millions of objects.
            digest.update(array("Q", map(len, texts)).tobytes())
            digest.update("".join(texts).encode("utf-8", "surrogatepass"))
        return cls(digest.hexdigest()[:32], objects, pc.sum(objects.column("size")).as_py() or 0)

    def halve(self) -> list[UnitTask]:
        """Its halves as units."""
        half = self.objects.num_rows // 2
        return [UnitTask.of(self.objects.slice(0, half)), UnitTask.of(self.objects.slice(half))]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A Parquet file that a worker has written: its table, its path below the data path, its rows and its checksum."""

    table: str
    path: str
    rows: int
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a unit: its files, the number of objects with rows, and of those that could not be read at all;
    its new rejects, and the keys whose earlier reject is out of date.

    `missed` has the keys of objects without rows. `left` of them were not tried, for lack of room. `patients` are those
    that headers have named, by key.
    """

    id: str
    files: tuple[WrittenFile, ...] = ()
    loaded: int = 0
    unread: int = 0
    rejects: list[dict[str, Any]] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    missed: frozenset[str] = frozenset()
    left: int = 0
    patients: dict[str, str] = field(default_factory=dict)


class Workers(Protocol):
    """What loads units: processes of this machine, or a cluster."""

    def run_units(self, step: str, units: Iterable[UnitTask], number: int) -> Iterator[list[tuple[UnitTask, Receipt]]]:
        """Load a number of units of a step, in any order; yields what was done since the last time."""
        ...

    def close(self) -> None:
        """End what runs."""
        ...
