"""A bucket and its lake that the tests of the service share, and a server of it; nobody changes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served, serve_thread, write_tokens

import warehouse
from warehouse.service.core import Limits
from warehouse.synthetic import make_bucket


@pytest.fixture(scope="session")
def served_bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket of 40 patients whose images are DICOM files; some of them are in the group `validation`."""
    folder = tmp_path_factory.mktemp("served") / "bucket"
    make_bucket(folder, 40, seed=1)
    return folder


@pytest.fixture(scope="session")
def served_lake(served_bucket: Path) -> Path:
    """The lake of it."""
    lake = served_bucket.with_name("lake")
    warehouse.refresh(str(served_bucket), str(lake))
    return lake


@pytest.fixture(scope="session")
def tokens(served_lake: Path) -> dict[str, str]:
    """The tokens of served.CALLERS, by name; the file is `tokens.json` beside the lake."""
    return write_tokens(served_lake.with_name("tokens.json"))


@pytest.fixture(scope="session")
def served(served_lake: Path, tokens: dict[str, str]) -> Iterator[Served]:
    """A server of it in a thread, for the callers of `tokens`; the client's own token is that of "all"."""
    limits = Limits(most_bytes=8_000_000)
    with serve_thread(served_lake, token_file=served_lake.with_name("tokens.json"), limits=limits) as running:
        running.token = tokens["all"]
        yield running
