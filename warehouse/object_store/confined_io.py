"""Opens the files of an Iceberg table for pyiceberg, as long as they are where the table is.

The metadata of a table name all its files by whole addresses: they could be those of other buckets, which the reader's
credentials open, or of files of this machine.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

_S3 = ("s3", "s3a", "s3n")


class ConfinedIO(PyArrowFileIO):
    """Opens what is in the bucket of the metadata file, or in its table's folder; links are resolved."""

    def __init__(self, metadata: str, properties: dict[str, str]) -> None:
        """`metadata` is the address of the metadata file, s3:// or file://."""
        super().__init__(properties)
        self._bucket = "" if metadata.startswith("file:") else urlsplit(metadata).netloc
        above = Path() if self._bucket else Path(unquote(urlsplit(metadata).path)).resolve().parent
        self._folder = above.parent if above.name == "metadata" else above

    def new_input(self, location: str) -> PyArrowFile:
        """Open a file to read; ValueError if it is elsewhere."""
        if not self._is_within(location):
            raise ValueError(f"it names {location[:100]}, which is not where the table is")
        return super().new_input(location)

    def _is_within(self, location: str) -> bool:
        place = urlsplit(location)
        if self._bucket:
            return place.scheme in _S3 and place.netloc == self._bucket
        return (
            place.scheme in ("", "file")
            and not place.netloc
            and all(Path(path).resolve().is_relative_to(self._folder) for path in (place.path, unquote(place.path)))
        )
