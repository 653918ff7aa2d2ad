"""Every command of a page that newcomers follow runs as it is printed there, in one folder, against a sample lake."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copy_lake

import warehouse

PAGE = Path(warehouse.__file__).parent.parent / "docs/ready_to_train.md"
#: Blocks of the page: runs of lines that are indented by four spaces.
BLOCKS = ["\n".join(re.findall(r"(?m)^ {4}(.*)$", part)) for part in PAGE.read_text("utf-8").split("\n\n")]


@pytest.fixture(scope="module")
def lake(served_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_lake(served_lake, tmp_path_factory.mktemp("ready") / "lake")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks, as a reader has: what one writes is not in the way of the next."""
    return tmp_path_factory.mktemp("reader")


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BLOCKS if block], ids=lambda block: block[:40])
def test_blocks_run_as_printed(block: str, lake: Path, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", block],
        cwd=folder,
        env={**os.environ, "PATH": path, "CHEST_LAKE": str(lake)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 4, "the block prints an answer"
    assert " 0 rows " not in done.stdout, "the answer on the sample bucket has rows"
