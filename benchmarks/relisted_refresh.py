"""The command `chest refresh` with a bucket that lists what a lake knows already: a refresh with nothing new.

    python -m benchmarks.relisted_refresh LAKE

Another process reads the lake's rows and passes them on as the listing. Nothing is replaced but the bucket, behind its
interface; nothing of it can be read.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from warehouse.engine import sql_files
from warehouse.lake import location, store
from warehouse.object_store.base import DELETED_SINCE_LISTING, ReadFailure, listing_schema
from warehouse.settings import Settings

_SQL = str(Path(__file__).with_suffix(".sql"))
#: Rows of a batch: some hundred pages of ListObjectsV2.
_BATCH = 100_000


class RelistedBucket:
    """The bucket of a lake with one source, as the lake knows it, behind the interface of buckets."""

    listed_at: datetime | None = None
    listing_note = ""
    skipped: Sequence[Any] = ()

    def __init__(self, lake: str, source: str) -> None:
        self.source, self._lake = source, lake

    def listing(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Stream the rows of the lake's objects, as another process reads them."""
        assert not prefix
        words = [sys.executable, "-m", "benchmarks.relisted_refresh", self._lake, "--list"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as lister:
            assert lister.stdout is not None
            with pa.ipc.open_stream(lister.stdout) as stream:
                yield from stream
        assert lister.returncode == 0

    def read_into(
        self,
        buffer: memoryview,  # noqa: ARG002
        keys: Sequence[str],
        etags: Sequence[str],  # noqa: ARG002
        sizes: Sequence[int],  # noqa: ARG002
    ) -> dict[int, ReadFailure]:
        """Nothing is there to be read."""
        return dict.fromkeys(range(len(keys)), DELETED_SINCE_LISTING)


def list_rows(lake: str) -> None:
    """Write the listing to standard output as a stream of Arrow."""
    con, _ = store.open_reader(location.parse_address(lake), Settings())
    rows = con.execute(sql_files.read_statements(_SQL)["listing"]).to_arrow_reader(_BATCH)
    with pa.ipc.new_stream(sys.stdout.buffer, listing_schema()) as stream:
        for batch in rows:
            stream.write_batch(batch.cast(listing_schema()))


def main() -> None:
    """Refresh the lake, or list its rows."""
    lake = sys.argv[1]
    if sys.argv[2:]:
        list_rows(lake)
        return
    con, _ = store.open_reader(location.parse_address(lake), Settings())
    bucket = RelistedBucket(lake, con.execute(sql_files.read_statements(_SQL)["source"]).fetchall()[0][0])
    con.close()
    with patch("warehouse.ingest.open_listed", lambda source, settings: bucket):  # noqa: ARG005
        from warehouse.cli import main as run_command

        sys.argv = ["chest", "refresh", bucket.source, "--lake", lake, "--quiet", "--format", "json"]
        run_command()


if __name__ == "__main__":
    main()
