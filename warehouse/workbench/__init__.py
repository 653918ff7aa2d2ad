"""The workbench: ready marimo notebooks over the user's lake, copied into a folder of the user's.

`notebooks/` has them; nothing imports them here. They use the library as any user would: `import warehouse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import UsageError
from warehouse.filesystem import files

_NOTEBOOKS = Path(__file__).parent / "notebooks"

#: The notebooks by name, in the order in which a newcomer reads them, with what each is for.
NOTEBOOKS = {
    "tour": "what is in the lake, and how it is asked",
    "prior_to_a_day": "all data prior to a day",
    "one_patient": "all data of one patient",
    "cohort_to_manifest": "from a cohort to its manifest",
    "images_in_a_grid": "chest films in a grid",
    "quality": "checks, repairs, completeness, the report",
}


@dataclass(frozen=True, slots=True)
class Copied:
    """The notebooks that were written, and those that were there already and were left as they are."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def copy_notebooks(folder: Path) -> Copied:
    """Copy the notebooks into a folder, which is made if it is missing. A file that is there is never overwritten.

    UsageError if the folder cannot be written.
    """
    written, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in NOTEBOOKS:
            target = folder / f"{name}.py"
            if target.exists() or target.is_symlink():
                kept.append(target)
                continue
            with files.write_text_atomically(target, may_stream=False) as file:
                file.write((_NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8"))
            written.append(target)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be written: {error.strerror}. Choose another.") from None
    return Copied(tuple(written), tuple(kept))
