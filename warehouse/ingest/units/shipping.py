"""Packs the installed package for Spark's executors: the files of a wheel, with sql/ in it, named by their digest."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

from warehouse.engine import sql_files
from warehouse.filesystem import files
from warehouse.version import __version__

#: The time of every file, so that the same files give the same archive: the earliest that a zip can state.
_TIME = (1980, 1, 1, 0, 0, 0)


@cache
def pack_package() -> Path:
    """Write the archive, once in a process, to a folder that goes with the process; Spark unpacks it on each executor.

    Its name is that of a wheel of this version, with the digest of its contents, so that two builds never mix.
    """
    package = Path(__file__).parents[2]
    inside = package.name
    sources = {f"{inside}/{path.relative_to(package)}": path for path in _list_files(package)}
    root = sql_files.find_root()
    sources |= {f"{inside}/sql/{path.relative_to(root)}": path for path in _list_files(root)}
    packed, digest = io.BytesIO(), hashlib.sha256()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(sources.items()):
            content = path.read_bytes()
            digest.update(f"{name}:{len(content)}:".encode() + content)
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    target = Path(files.make_temporary_folder(), f"chest_data_warehouse-{__version__}-{digest.hexdigest()[:16]}.zip")
    files.write_new(target, packed.getvalue())
    return target


def _list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
