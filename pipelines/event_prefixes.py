"""Keeps the prefixes that events named in files: a run's config, which Dagster shows, has only the name of a file.

A prefix names a patient, and their number is exact.
"""

import contextlib
import json
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from warehouse.errors import UsageError
from warehouse.filesystem import files

_FOLDER = ".events"
#: What a name may be: it becomes a path.
PATTERN = "^[0-9a-f]{16}$"


def store_prefixes(folder: Path, prefixes: Sequence[str]) -> str:
    """Write prefixes to a new file below the folder of manifests; returns its name, which is random."""
    name = secrets.token_hex(8)
    files.make_folder(folder / _FOLDER)
    with files.write_text_atomically(folder / _FOLDER / f"{name}.json") as file:
        json.dump(list(prefixes), file, ensure_ascii=False)
    return name


def read_prefixes(folder: Path, name: str) -> list[str]:
    """Read them again; UsageError if the name is not valid, or the file is gone."""
    if not re.fullmatch(PATTERN, name):
        raise UsageError(f"{name!r} is not the name of changes that the sensor stored. Leave it out.")
    try:
        found: list[str] = json.loads((folder / _FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"The changes {name} are no longer in {folder / _FOLDER}. Start a refresh without them."
        ) from None
    return found


def forget_prefixes(folder: Path, keep_days: int) -> None:
    """Remove files that are older than that many days."""
    for path in (folder / _FOLDER).glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < time.time() - keep_days * 86400:
                path.unlink()
