"""A manifest opened: what it says, its rows as polars, and the downloaded files with their labels.

    manifest = warehouse.manifest("covid-2020-06")
    manifest.polars().group_by("Modality").len()
    for path, labels in manifest.files("data"): ...

`files` is a sequence, so `torch.utils.data.DataLoader(manifest.files("data"))` takes it as it is.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from warehouse import sqlfiles
from warehouse.errors import ManifestError, UsageError
from warehouse.manifests import paths
from warehouse.manifests.rows import COLUMNS, digest

if TYPE_CHECKING:
    import duckdb
    import polars as pl

#: The number of the format that manifest.json is in; a manifest of a later one is refused.
FORMAT = 1
SCHEMA = "manifest.schema.json"
FILES = (
    "manifest.csv",
    "manifest.parquet",
    "records.parquet",
    "manifest.json",
    SCHEMA,
    "croissant.json",
    "download.s5cmd",
)

_NEEDED = {
    "digest": str,
    "cohort": dict,
    "group": str,
    "snapshot": int,
    "snapshot_time": str,
    "objects": list,
    "counts": dict,
    "files": dict,
    "created_at": str,
}


@cache
def schema_text() -> str:
    """The JSON Schema of manifest.json."""
    return resources.files("warehouse.manifests").joinpath(SCHEMA).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in its folder. `about` is manifest.json as it stands."""

    folder: Path
    about: dict[str, Any]

    @property
    def digest(self) -> str:
        """The content digest that manifest.json states."""
        return str(self.about["digest"])

    @property
    def name(self) -> str:
        """The name of the cohort."""
        return str(self.about["cohort"].get("name", ""))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the label columns."""
        return tuple(self.about["cohort"].get("labels", {}))

    @property
    def rows(self) -> str:
        """The rows as DuckDB reads them: a literal of manifest.parquet's path."""
        return sqlfiles.literal(str(self.folder / "manifest.parquet"))

    def polars(self) -> "pl.DataFrame":
        """All rows, one an object."""
        import polars as pl

        return pl.read_parquet(self.folder / "manifest.parquet")

    def files(self, data: Path | str, objects: str = "dcm") -> "Files":
        """The downloaded files of one kind of object, each with its labels; ManifestError names those not there."""
        import polars as pl

        rows = self.polars().filter(pl.col("object") == objects)
        folder = Path(data)
        many = len(self.about.get("sources", [])) > 1
        places = [place_of(folder, key, uri, many) for key, uri in rows.select("key", "uri").iter_rows()]
        absent = [
            key for key, place in zip(rows["key"].to_list(), places, strict=True) if not (place and place.is_file())
        ]
        if absent:
            raise ManifestError(
                f"{named(absent)} of {len(rows):,} objects are not in {folder}. "
                f"Fetch them:  chest manifest download {self.folder} -o {folder}"
            )
        return Files([str(place) for place in places], rows.select(self.labels))

    @property
    def records(self) -> str:
        """The clinical files that were known of its patients, likewise."""
        return sqlfiles.literal(str(self.folder / "records.parquet"))

    @property
    def sources(self) -> list[str]:
        """The buckets that its objects lie in."""
        return list(self.about.get("sources", []))

    def check(self, con: "duckdb.DuckDBPyConnection") -> None:
        """Raise ManifestError when the rows are not those that manifest.json was written with."""
        import duckdb

        try:
            found = digest(con, self.rows, self.labels)
        except duckdb.Error as error:
            said = str(error).split("\n", maxsplit=1)[0]
            raise ManifestError(f"{self.folder}/manifest.parquet cannot be read: {said}") from None
        if found != self.digest:
            raise ManifestError(
                f"{self.folder} was altered: its rows have the digest {found}, manifest.json says {self.digest}. "
                "Get the manifest again from where it came from."
            )


def open_manifest(folder: Path | str) -> Manifest:
    """Open a manifest's folder; UsageError when it is none, ManifestError when it is not whole."""
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        raise UsageError(
            f"{folder} is no manifest: it has no manifest.json. Make one:  chest manifest export NAME -o DIR"
        )
    try:
        about = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{folder}/manifest.json cannot be read: {error}.") from None
    if not isinstance(about, dict) or not isinstance(about.get("format"), int):
        raise ManifestError(f"{folder}/manifest.json is not that of a manifest.")
    if about["format"] > FORMAT:
        raise ManifestError(
            f"{folder} is a manifest of format {about['format']}; this version knows {FORMAT}. Install a later one."
        )
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(about.get(name), kind)]
    if wrong or not re.fullmatch("sha256:[0-9a-f]{64}", about["digest"]):
        raise ManifestError(f"{folder}/manifest.json lacks {', '.join(wrong) or 'a digest'}.")
    absent = [name for name in ("manifest.csv", "manifest.parquet", "records.parquet") if not (folder / name).is_file()]
    if absent:
        raise ManifestError(f"{folder} is not whole: {' and '.join(absent)} missing.")
    return Manifest(folder, about)


def place_of(folder: Path, key: str, uri: str, many_sources: bool) -> Path | None:
    """Where an object goes below a folder of downloads; None when it must not. Each of several sources has a folder."""
    if many_sources:
        key = f"{source_folder(uri.removesuffix('/' + key))}/{key}"
    return paths.target(folder, key)


def source_folder(source: str) -> str:
    """The folder of one source among several."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", source.removeprefix("s3://")).strip("._") or "source"


def named(names: Sequence[str], most: int = 5) -> str:
    """Some names in words: the first few, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


class Files(Sequence[tuple[str, dict[str, Any]]]):
    """Paths of files and their labels, in the order of the manifest; light to hand to another process."""

    def __init__(self, places: list[str], labels: "pl.DataFrame") -> None:
        self._places, self._labels = places, labels

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> tuple[str, dict[str, Any]]: ...
    @overload
    def __getitem__(self, place: slice) -> "Files": ...
    def __getitem__(self, place: int | slice) -> "tuple[str, dict[str, Any]] | Files":
        if isinstance(place, slice):
            return Files(self._places[place], self._labels[place])
        path = self._places[place]
        return path, self._labels.row(place, named=True) if self._labels.width else {}

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        labels = self._labels.iter_rows(named=True) if self._labels.width else ({} for _ in self._places)
        return zip(self._places, labels, strict=True)


__all__ = ["COLUMNS", "FILES", "FORMAT", "Files", "Manifest", "open_manifest"]
