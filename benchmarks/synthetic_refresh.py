"""The command `chest refresh` with a synthetic store in place of a bucket: a process of its own for each refresh.

    python -m benchmarks.synthetic_refresh OBJECTS GENERATION LAKE

Nothing is replaced but the bucket, behind its interface. The worker processes of a refresh open the bucket by its
address, which a synthetic one has not: the refresh loads within its own process (CHEST_WORKERS=1).
"""

import sys
from unittest.mock import patch

from benchmarks.synthetic_store import Store, SyntheticBucket


def main() -> None:
    """Refresh a lake from a store of so many objects."""
    n_objects, generation, lake = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    bucket = SyntheticBucket(Store(n_objects, generation))
    with patch("warehouse.ingest.open_listed", lambda source, settings: bucket):  # noqa: ARG005
        from warehouse.cli import main as run_command

        sys.argv = ["chest", "refresh", bucket.source, "--lake", lake, "--quiet", "--format", "json"]
        run_command()


if __name__ == "__main__":
    main()
