"""A manifest opened: everything in its folder is checked, then it says how it was asked and gives its rows.

    manifest = warehouse.manifest("covid-2020-06")
    manifest.polars().group_by("Modality").len()
    for path, labels in manifest.files("data"): ...
    train, test = manifest.split(test=0.2, by="patient_id")

`files` is a sequence, so `torch.utils.data.DataLoader(manifest.files("data"))` takes it as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import ManifestError, UsageError
from warehouse.manifests.contents import Contents, load_contents
from warehouse.manifests.document import FORMAT, MOST_BYTES, SCHEMA, UNSEALED_FORMAT, parse_document, read_schema
from warehouse.manifests.files import Files, Part, abbreviate, find_files, split_rows
from warehouse.manifests.rows import COLUMNS
from warehouse.manifests.sealing import DOCUMENT, SUMS, check_seal, check_sums, compute_seal, read_file

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
class Manifest:
    """A manifest in its folder. `about` is manifest.json as it stands; `seal` is "" where it has none (format 1).

    `home` are the sources of the lake that it was exported from just now; of a manifest that was opened there are none.
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
        """The buckets that its objects lie in."""
        return list(self.about["sources"])

    @property
    def contents(self) -> Contents:
        """Its tables: checked, and copied to where nobody else writes, when they are first asked for.

        ManifestError when the folder was altered.
        """
        if not self._held:
            self._held.append(load_contents(self.folder, self.about))
        return self._held[0]

    def polars(self) -> pl.DataFrame:
        """All rows, one an object."""
        import polars as pl

        return pl.read_parquet(self.contents.rows_file, glob=False, hive_partitioning=False)

    def files(self, data: Path | str, objects: str = "dcm") -> Files:
        """The downloaded files of one kind of object, each with its labels; ManifestError names those not there."""
        return find_files(self, self.polars(), Path(data), objects)

    def split(self, test: float = 0.2, by: str = "patient_id", seed: int = 0) -> tuple[Part, Part]:
        """Two sides, for training and for testing; all rows of one patient (or other text `by`) are on one side.

        A patient's side depends on the patient's name, the seed and the share alone, not on who else is there: it stays
        the same in a later manifest. So the share is met on average. Each side has `polars()` and `files(data)`.
        """
        return split_rows(self, test, by, seed)


def open_manifest(folder: Path | str, *, seal: str = "", say: Callable[[str], object] = warnings.warn) -> Manifest:
    """Open a manifest's folder and check all of it; with `seal`, also that it is the one that you were told of.

    UsageError when it is none, ManifestError when it is not whole or was altered. `say` is told where it has no seal.
    """
    manifest = read_manifest(folder, seal=seal)
    _ = manifest.contents
    if not manifest.seal:
        say(
            f"{folder} is of format {UNSEALED_FORMAT} and has no seal: its digest covers what its objects are, "
            "not where they lie. Export it anew to have it sealed."
        )
    return manifest


def read_manifest(folder: Path | str, *, seal: str = "") -> Manifest:
    """The same with manifest.json and the seal checked now, and the tables when they are first asked for."""
    folder = Path(folder)
    if not (folder / DOCUMENT).exists():
        raise UsageError(f"{folder} is no manifest: it has no {DOCUMENT}. Make one:  chest manifest export NAME -o DIR")
    content = read_file(folder / DOCUMENT, MOST_BYTES)
    about = parse_document(content, folder / DOCUMENT)
    if absent := [name for name in about["files"] if not (folder / name).exists()]:
        raise ManifestError(
            f"{folder} is not whole: {abbreviate(absent)} missing. Get it again from where it came from."
        )
    found = ""
    if about["format"] > UNSEALED_FORMAT:
        found = compute_seal(content)
        check_sums(folder, content, about["files"])
    if seal:
        check_seal(folder, found, seal)
    return Manifest(folder, about, found)


def _reopen(folder: Path, seal: str) -> Manifest:
    """A manifest in another process: the same, or a ManifestError."""
    return read_manifest(folder, seal=seal)


__all__ = [
    "COLUMNS",
    "FILES",
    "FORMAT",
    "Files",
    "Manifest",
    "ManifestError",
    "Part",
    "abbreviate",
    "open_manifest",
    "read_manifest",
    "read_schema",
]
