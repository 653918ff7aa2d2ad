"""Opens the files of an Iceberg table for pyiceberg, as long as they are where the table is.

The metadata of a table name all its files by whole addresses: they could be those of other buckets, which the reader's
credentials open, or of files of this machine. Objects are read by boto3, which follows no redirection and leaves their
names as they are: pyarrow would ask whatever the server redirects to, and take `../other` for another bucket.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pyiceberg.io import InputFile
from pyiceberg.io.pyarrow import PyArrowFileIO

from warehouse import aws
from warehouse.object_store import s3_boto3
from warehouse.object_store.base import CHANGED_SINCE_LISTING, ReadFailure
from warehouse.object_store.s3_reading import read_at_most

if TYPE_CHECKING:
    from pyiceberg.io import InputStream

_S3 = ("s3", "s3a", "s3n")
#: Bytes that are read at once: more than a file of metadata has, or a column of a row group.
_MOST_BYTES = 1 << 30


class ConfinedIO(PyArrowFileIO):
    """Opens what is in the bucket of the metadata file, or in its table's folder; links are resolved."""

    def __init__(self, metadata: str, client: Any) -> None:
        """`metadata` is the address of the metadata file, s3:// or file://; `client` is boto3's for S3, else None."""
        super().__init__()
        self._client = client
        self._bucket = "" if metadata.startswith("file:") else urlsplit(metadata).netloc
        above = Path() if self._bucket else Path(unquote(urlsplit(metadata).path)).resolve().parent
        self._folder = above.parent if above.name == "metadata" else above

    def new_input(self, location: str) -> InputFile:  # type: ignore[override]  # of another kind than its own
        """Open a file to read; ValueError if it is elsewhere, or is no file."""
        # As pyiceberg reads it, which takes a `?` of a path without a scheme for a part of a name.
        scheme, netloc, path = self.parse_location(location, self.properties)
        if not self._is_within(scheme, netloc, path):
            raise ValueError(f"it names {location[:100]}, which is not where the table is")
        if self._bucket:
            return _Object(location, self._client, netloc, path.removeprefix(f"{netloc}/"))
        return super().new_input(location)

    def _is_within(self, scheme: str, netloc: str, path: str) -> bool:
        if self._bucket:
            return scheme in _S3 and netloc == self._bucket
        places = [Path(text).resolve() for text in (path, unquote(path))]
        return (
            scheme == "file"
            and not netloc
            and all(place.is_relative_to(self._folder) for place in places)
            and (places[0].is_file() or not places[0].exists())  # a pipe never ends
        )


class _Object(InputFile):
    """An object of S3 as pyiceberg opens it."""

    def __init__(self, location: str, client: Any, bucket: str, key: str) -> None:
        super().__init__(location)
        self._client, self._bucket, self._key = client, bucket, key

    def __len__(self) -> int:
        return self._find()[0]

    def exists(self) -> bool:
        """Whether the object is there."""
        try:
            self._find()
        except FileNotFoundError:
            return False
        return True

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002 - as pyiceberg declares it
        """Open it; FileNotFoundError if it is not there."""
        return _Reader(self._client, self._bucket, self._key, *self._find())

    def _find(self) -> tuple[int, str]:
        """Its size and etag; FileNotFoundError if it is not there, SourceError if the bucket denies it."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=self._key)
            return int(answer["ContentLength"]), answer["ETag"].strip('"')
        except ClientError as error:
            if error.response.get("Error", {}).get("Code", "") in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"{self.location} does not exist") from None
            raise aws.to_source_error(self.location, error) from None
        except (BotoCoreError, RecursionError) as error:
            raise aws.to_source_error(self.location, error) from None
        except (ResponseParserError, KeyError):
            raise OSError(f"{self.location} has no size or etag") from None


class _Reader(io.RawIOBase):
    """Reads an object at any offset, each part by a request of its own, as long as the object stays the same."""

    def __init__(self, client: Any, bucket: str, key: str, size: int, etag: str) -> None:
        self._client, self._bucket, self._key = client, bucket, key
        self._size, self._etag, self._at = size, etag, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:  # by one request, whatever its size
        stop = self._size if size < 0 else min(self._at + size, self._size)
        if stop <= self._at:
            return b""
        if stop - self._at > _MOST_BYTES:
            raise OSError(f"s3://{self._bucket}/{self._key} is too large to be read at once")
        source = f"s3://{self._bucket}"
        content = s3_boto3.stream(self._client, self._bucket, self._key, source, self._at, stop)
        if not isinstance(content, ReadFailure):
            found = read_at_most(content.chunks, stop - self._at)
            if content.etag == self._etag and len(found) == stop - self._at:
                self._at = stop
                return found
            content = CHANGED_SINCE_LISTING
        raise OSError(f"{source}/{self._key}: {content.reason}")

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        found = self.read(len(into))
        into[: len(found)] = found
        return len(found)
