"""An open manifest: its folder is checked completely; it then provides the question and the rows.

manifest = warehouse.manifest("covid-2020-06")
manifest.polars().group_by("Modality").len()
for path, labels in manifest.files("data"): ...
train, test = manifest.split(test=0.2, by="patient_id")

dataset = manifest.to_torch("data"), manifest.to_torch(stream=True), manifest.to_monai("data")
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import notebook
from warehouse.errors import ManifestError, UsageError
from warehouse.manifests.contents import Contents, load_contents, read_rows
from warehouse.manifests.document import FORMAT, MOST_BYTES, SCHEMA, UNSEALED_FORMAT, parse_document, read_schema
from warehouse.manifests.files import Files, Part, abbreviate, find_files, split_rows
from warehouse.manifests.loading.loadable import Loadable
from warehouse.manifests.rows import COLUMNS
from warehouse.manifests.sealing import DOCUMENT, SUMS, check_seal, check_sums, compute_seal, read_file
from warehouse.manifests.sides import Side, Sides, list_sides

if TYPE_CHECKING:
    import polars as pl

FILES = (
    "manifest.csv",
    "manifest.parquet",
    "records.parquet",
    DOCUMENT,
    SCHEMA,
    "croissant.json",
    "download.s5cmd",
    SUMS,
)


@dataclass(frozen=True, slots=True)
class Manifest(Loadable):
    """A manifest in its folder. `about` is the content of manifest.json; `seal` is "" for format 1, which has none.

    `home` has the sources of the lake if the manifest was just exported; it is empty for a manifest that was opened.
    """

    folder: Path
    about: dict[str, Any]
    seal: str = ""
    home: frozenset[str] = frozenset()
    _held: list[Contents] = field(default_factory=list, repr=False, compare=False)

    def __repr__(self) -> str:
        return (
            f"<Manifest {self.name} in {self.folder}: {self.about['counts']['objects']:,} objects, "
            f"seal {self.seal.removeprefix('sha256:')[:12] or 'none'}>"
        )

    def _repr_html_(self) -> str:
        """The same for a notebook, with what was asked; nobody's values."""
        counts = self.about["counts"]
        facts = {
            "folder": self.folder,
            **{name: counts[name] for name in ("objects", "patients", "studies", "images")},
            "group": self.about["group"],
            "as of": self.about["as_of"],
            "snapshot": self.about["snapshot"],
            "digest": self.digest,
            "seal": self.seal,
        }
        return notebook.show_facts(f"Manifest {self.name}", facts)

    def __reduce__(self) -> tuple[Callable[..., Manifest], tuple[Path, str]]:
        return _reopen, (self.folder, self.seal)

    @property
    def digest(self) -> str:
        """The content digest that manifest.json states."""
        return str(self.about["digest"])

    @property
    def name(self) -> str:
        """The name of the cohort."""
        return str(self.about["cohort"]["name"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the label columns."""
        return tuple(self.about["cohort"]["labels"])

    @property
    def sources(self) -> list[str]:
        """The buckets of its objects."""
        return list(self.about["sources"])

    @property
    def contents(self) -> Contents:
        """Its tables: copied to a private folder and checked on first access.

        ManifestError if the folder was altered.
        """
        if not self._held:
            self._held.append(load_contents(self.folder, self.about))
        return self._held[0]

    def polars(self) -> pl.DataFrame:
        """All rows, one per object. An INTERVAL, for which Polars has no type, is text as in the CSV."""
        return read_rows(self.contents)

    def _get_manifest(self) -> Manifest:
        return self

    def files(self, data: Path | str, objects: str = "dcm") -> Files:
        """The downloaded files of one kind of object, each with its labels; ManifestError names missing ones."""
        return find_files(self, self.polars(), Path(data), objects)

    @property
    def sides(self) -> Sides:
        """The sides of the column `split`, train first, each with `polars()` and `files(data)`; rows without a side are
        on none. UsageError for any other side, and if it was exported without a split."""
        return list_sides(self)

    def split(self, test: float = 0.2, by: str = "patient_id", seed: int = 0) -> tuple[Part, Part]:
        """Split into training and test sides; all rows of one patient (or other text column `by`) are on one side.

        A patient's side depends only on the pseudonym, the seed and the share, not on other patients, so it stays the
        same in a later manifest. The share is therefore met on average. Each side has `polars()` and `files(data)`.
        """
        return split_rows(self, test, by, seed)


def open_manifest(folder: Path | str, *, seal: str = "", warn: Callable[[str], object] = warnings.warn) -> Manifest:
    """Open a manifest's folder and check all of it; with `seal`, also that it has that seal.

    UsageError if it is not a manifest, ManifestError if it is incomplete or was altered. `warn` is called with a note
    if it has no seal.
    """
    manifest = read_manifest(folder, seal=seal)
    _ = manifest.contents
    if not manifest.seal:
        warn(
            f"{folder} is of format {UNSEALED_FORMAT} and has no seal: its digest covers the content of its "
            "objects, not their location. Export it again to get a seal."
        )
    return manifest


def read_manifest(folder: Path | str, *, seal: str = "") -> Manifest:
    """Open a manifest and check manifest.json and the seal now, and the tables on first access."""
    folder = Path(folder)
    if not (folder / DOCUMENT).exists():
        raise UsageError(
            f"{folder} is not a manifest: it has no {DOCUMENT}. Export one:  chest manifest export NAME -o DIR"
        )
    content = read_file(folder / DOCUMENT, MOST_BYTES)
    about = parse_document(content, folder / DOCUMENT)
    if absent := [name for name in about["files"] if not (folder / name).exists()]:
        raise ManifestError(
            f"{folder} is incomplete: {abbreviate(absent)} missing. Get the manifest again from its sender."
        )
    found = ""
    if about["format"] > UNSEALED_FORMAT:
        found = compute_seal(content)
        check_sums(folder, content, about["files"])
    if seal:
        check_seal(folder, found, seal)
    return Manifest(folder, about, found)


def _reopen(folder: Path, seal: str) -> Manifest:
    """Reopen a manifest in another process; ManifestError if it has changed."""
    return read_manifest(folder, seal=seal)


__all__ = [
    "COLUMNS",
    "FILES",
    "FORMAT",
    "Files",
    "Manifest",
    "ManifestError",
    "Part",
    "Side",
    "abbreviate",
    "open_manifest",
    "read_manifest",
    "read_schema",
]
