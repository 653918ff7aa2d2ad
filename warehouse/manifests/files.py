"""The downloaded files of a manifest with their labels, and its split by patient."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

from warehouse.errors import ManifestError, UsageError
from warehouse.filesystem import files
from warehouse.manifests import paths
from warehouse.manifests.loading.loadable import Loadable
from warehouse.text import escape_controls

if TYPE_CHECKING:
    import polars as pl

    from warehouse.manifests.manifest import Manifest

#: The file in a download's own folder that has its layout, unless that is the keys.
LAYOUT = "layout"


class Files(Sequence[tuple[str, dict[str, Any]]]):
    """Paths of files, each with `patient_id` and its labels, in the order of the manifest; cheap to pickle."""

    def __init__(self, places: list[str], labels: pl.DataFrame) -> None:
        self._places, self._labels = places, labels

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> tuple[str, dict[str, Any]]: ...
    @overload
    def __getitem__(self, place: slice) -> Files: ...
    def __getitem__(self, place: int | slice) -> tuple[str, dict[str, Any]] | Files:
        if isinstance(place, slice):
            return Files(self._places[place], self._labels[place])
        return self._places[place], self._labels.row(place, named=True)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return zip(self._places, self._labels.iter_rows(named=True), strict=True)


class Listing(Protocol):
    """The parts of a manifest that this module needs: its rows and labels."""

    @property
    def folder(self) -> Path:
        """The folder of the manifest."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that label the rows."""

    @property
    def sources(self) -> list[str]:
        """The buckets of the objects."""

    def polars(self) -> pl.DataFrame:
        """The rows, one per object."""


@dataclass(frozen=True, slots=True)
class Part(Loadable):
    """One side of a split manifest: the rows whose value in column `by` falls on it."""

    manifest: Listing
    test: float
    by: str
    seed: int
    is_test: bool

    def polars(self) -> pl.DataFrame:
        """The rows of this side, one per object."""
        import polars as pl

        rows = self.manifest.polars()
        values = rows[self.by].unique().to_list()
        mine = [value for value in values if is_test_value(value, self.test, self.seed) is self.is_test]
        return rows.filter(pl.col(self.by).is_in(mine, nulls_equal=True))

    def _get_manifest(self) -> Manifest:
        return cast("Manifest", self.manifest)

    def files(self, data: Path | str, objects: str = "dcm") -> Files:
        """The downloaded files of this side, as in `Manifest.files`."""
        return find_files(self.manifest, self.polars(), Path(data), objects)


def split_rows(manifest: Listing, test: float, by: str, seed: int) -> tuple[Part, Part]:
    """Split the rows into training and test sides (Manifest.split); UsageError for an invalid share or column."""
    if not 0 <= test <= 1:
        raise UsageError(f"The share of the test rows must be from 0 to 1, not {test}.")
    texts = [name for name, kind in manifest.polars().schema.items() if str(kind) == "String"]
    if by not in texts:
        raise UsageError(
            f"A manifest can be split only by a text column, not by {by!r}. Choose one of {', '.join(texts)}."
        )
    return Part(manifest, test, by, seed, False), Part(manifest, test, by, seed, True)


def is_test_value(value: str | None, test: float, seed: int) -> bool:
    """Whether a value falls on the test side: the first 64 bits of the SHA-256 of `seed:value` are below its share."""
    digest = hashlib.sha256(f"{seed}:{value or ''}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < test * 2**64


def find_files(manifest: Listing, rows: pl.DataFrame, data: Path, objects: str) -> Files:
    """Find the downloaded files of one kind of object; ManifestError names missing ones."""
    import polars as pl

    rows = rows.filter(pl.col("object") == objects)
    places = list(find_places(manifest, rows, data))
    absent = [key for key, place in zip(rows["key"].to_list(), places, strict=True) if not (place and place.is_file())]
    if absent:
        raise ManifestError(
            f"{abbreviate(absent)} of {len(rows):,} objects are not in {data}. "
            f"Download them:  chest manifest download {manifest.folder} -o {data}"
        )
    return Files([str(place) for place in places], rows.select("patient_id", *manifest.labels))


def find_places(manifest: Listing, rows: pl.DataFrame, data: Path) -> Iterator[Path | None]:
    """Find the paths of objects in a download folder, of any layout; None for one that is not there or not allowed."""
    if (data / paths.OWN / LAYOUT).exists():
        known = _read_table(data)
        below = [known.get(uri, "") for uri in rows["uri"]]
    else:
        folders = name_source_folders(manifest.sources)
        below = [find_path(key, uri, folders) for key, uri in rows.select("key", "uri").iter_rows()]
    targets = paths.Targets(data)
    return (targets.find(path) for path in below)


def _read_table(data: Path) -> dict[str, str]:
    """Read the paths of a folder by uri; ManifestError if the download has not come so far."""
    import polars as pl

    table = data / paths.TABLES[0]
    try:
        with files.open_to_read(table) as file:
            found = pl.read_parquet(file, columns=["uri", "path"]).select("uri", "path")
        if found.dtypes != [pl.String, pl.String]:
            raise pl.exceptions.SchemaError("paths are texts")
        return dict(found.iter_rows())
    except (OSError, pl.exceptions.PolarsError):
        raise ManifestError(
            f"{table}, with the paths of the objects, cannot be read. Run the download again."
        ) from None


def find_path(key: str, uri: str, folders: dict[str, str]) -> str:
    """The relative path of an object in a download folder; each of several sources has a subfolder."""
    return f"{folders[uri.removesuffix('/' + key)]}/{key}" if len(folders) > 1 else key


def name_source_folders(sources: Iterable[str]) -> dict[str, str]:
    """Name the subfolder of each source in a download folder; unique even if case is ignored."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for source in sorted(sources):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", source.removeprefix("s3://")).strip("._-") or "source"
        name, number = plain, 1
        while name.lower() in taken or paths.is_reserved(name):
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        found[source] = name
    return found


def abbreviate(names: Sequence[str], most: int = 5) -> str:
    """Abbreviate a list of names: the first few, control characters escaped, and the number of others."""
    more = len(names) - most
    return ", ".join(escape_controls(name, keep_lines=False) for name in names[:most]) + (
        f" and {more:,} more" if more > 0 else ""
    )
