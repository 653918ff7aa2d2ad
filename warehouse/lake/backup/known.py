"""Remembers where backups of a lake were made, so that a purge of patients can bring them up to date."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.filesystem import below, files

if TYPE_CHECKING:
    from warehouse.lake.location import Location

#: The file in the folder of the lake, with the folder of a backup on each line.
NAME = "backups.txt"
_MOST_BYTES = 64 << 10


def list_known(place: Location) -> list[str]:
    """The folders of backups, as far as the lake remembers them: by whole paths, as it writes them."""
    if place.folder is None:
        return []
    with contextlib.suppress(OSError, UnicodeError):
        lines = below.read_small(place.folder, NAME, _MOST_BYTES).decode().splitlines()
        return [line for line in lines if Path(line).is_absolute()]
    return []


def remember(place: Location, folder: Path) -> None:
    """Remember the folder of a backup. Never fails: whoever makes a backup may be unable to write to the lake."""
    known = list_known(place)
    if place.folder is None or str(folder) in known:
        return
    with contextlib.suppress(OSError), files.write_text_atomically(place.folder / NAME, may_stream=False) as file:
        file.write("".join(f"{one}\n" for one in (*known, folder)))
