"""Where an object goes in a folder of downloads; no key gets out of it."""

import re
from pathlib import Path

#: Keys that must not become paths: empty segments, `.` and `..`, a leading `/`, control characters, and what
#: Windows reads as a drive or as a separator. Read alike by Python and by DuckDB's RE2.
UNSAFE = r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f\\]|^[A-Za-z]:"

_UNSAFE = re.compile(UNSAFE)

#: The folder beside the objects that a download keeps its own files in.
OWN = ".chest"


def is_safe(key: str) -> bool:
    """Whether a key may be used as a path below a folder."""
    return bool(key) and not _UNSAFE.search(key) and key.split("/", 1)[0] != OWN


def target(folder: Path, key: str) -> Path | None:
    """Where the object goes; None when its key is unsafe, or a link in the folder leads out of it."""
    if not is_safe(key):
        return None
    path = folder / key
    return path if path.parent.resolve().is_relative_to(folder.resolve()) else None
