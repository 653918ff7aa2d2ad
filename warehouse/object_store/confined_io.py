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
        """Open a file to read; ValueError if it is elsewhere, or is no file."""
        # As pyiceberg reads it, which takes a `?` of a path without a scheme for a part of a name.
        if not self._is_within(*self.parse_location(location, self.properties)):
            raise ValueError(f"it names {location[:100]}, which is not where the table is")
        return super().new_input(location)

    def _is_within(self, scheme: str, netloc: str, path: str) -> bool:
        if self._bucket:
            # pyarrow resolves dots before it asks: below a server's address, they would lead to another bucket.
            has_dots = not {".", ".."}.isdisjoint(path.split("/"))
            return scheme in _S3 and netloc == self._bucket and not has_dots
        places = [Path(text).resolve() for text in (path, unquote(path))]
        return (
            scheme == "file"
            and not netloc
            and all(place.is_relative_to(self._folder) for place in places)
            and (places[0].is_file() or not places[0].exists())  # a pipe never ends
        )
