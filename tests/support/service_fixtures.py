"""Fixtures of the service: a bucket and its lake that nobody changes, and a server of it; used by tests/conftest.py.

Not a conftest.py of their own: tests import from `conftest`, and there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from served import Served


@pytest.fixture(scope="session")
def served_bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket of 40 patients whose images are DICOM files; some of them are in the group `validation`."""
    from warehouse.synthetic import make_bucket

    folder = tmp_path_factory.mktemp("served") / "bucket"
    make_bucket(folder, 40, seed=1)
    return folder


@pytest.fixture(scope="session")
def served_lake(served_bucket: Path) -> Path:
    """The lake of it."""
    from conftest import start_lake

    import warehouse

    lake = start_lake(served_bucket.with_name("lake"))
    warehouse.refresh(str(served_bucket), str(lake))
    return lake


@pytest.fixture(scope="session")
def tokens(served_lake: Path) -> dict[str, str]:
    """The tokens of served.CALLERS, by name; the file is `tokens.json` beside the lake."""
    from served import write_tokens

    return write_tokens(served_lake.with_name("tokens.json"))


@pytest.fixture(scope="module")
def served(served_lake: Path, tokens: dict[str, str]) -> Iterator[Served]:
    """A server of it in a thread, for the callers of `tokens`; the client's own token is that of "all".

    One for each module: it remembers what a caller with counts was shown.
    """
    from dataclasses import replace

    from served import PATIENT, serve_thread

    limits = replace(PATIENT, most_bytes=8_000_000)
    with serve_thread(served_lake, token_file=served_lake.with_name("tokens.json"), limits=limits) as running:
        running.token = tokens["all"]
        yield running
