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

#: In the folder of the notebooks, so that marimo looks no further up for settings of a project, and for its `.env`.
PROJECT = "pyproject.toml"
_PROJECT_TEXT = """\
# marimo takes settings of these notebooks from here, and from no folder above, which somebody else may have filled:
# settings can have code imported, and send what is typed to a server. A file .env beside this one is read, too.
[tool.marimo]
"""
#: Settings of marimo itself, which it looks for from the working directory upwards.
_SETTINGS = ".marimo.toml"


@dataclass(frozen=True, slots=True)
class Copied:
    """The notebooks that were written, and those that were there already and were left as they are."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def copy_notebooks(folder: Path) -> Copied:
    """Copy the notebooks into a folder, which is made if it is missing. A file that is there is never overwritten.

    The folder is a project of its own for marimo (`PROJECT`). UsageError if the folder cannot be written.
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
        project = folder / PROJECT
        if not project.exists() and not project.is_symlink():
            with files.write_text_atomically(project, may_stream=False) as file:
                file.write(_PROJECT_TEXT)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be written: {error.strerror}. Choose another.") from None
    return Copied(tuple(written), tuple(kept))


def require_own_settings(folder: Path, home: Path) -> None:
    """UsageError if marimo, started in a folder, would take settings from there or above, and not from the user's home.

    Such a file may have come with the folder, and marimo does what it states as if the user had set it.
    """
    for place in (folder.resolve(), *folder.resolve().parents):
        if place == home.resolve():
            return
        if (place / _SETTINGS).exists():
            raise UsageError(
                f"{place / _SETTINGS} would set marimo up, and it may have come with its folder. Start "
                f"chest workbench elsewhere; if the settings are yours, move them to {home / _SETTINGS}."
            )
