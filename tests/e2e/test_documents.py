"""Every command of a page that newcomers follow runs as it is printed there, in a shell, against a sample lake."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import warehouse
from warehouse.synthetic import make_bucket

PAGE = Path(warehouse.__file__).parent.parent / "docs/ready_to_train.md"
#: Blocks of the page: runs of lines that are indented by four spaces.
BLOCKS = ["\n".join(re.findall(r"(?m)^ {4}(.*)$", part)) for part in PAGE.read_text("utf-8").split("\n\n")]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ready")
    make_bucket(root / "bucket", 40, seed=1)
    warehouse.refresh(str(root / "bucket"), str(root / "lake"))
    return root / "lake"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block], ids=lambda block: block[:40])
def test_blocks_run_as_printed(block: str, lake: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "CHEST_LAKE": str(lake)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 4, "the answer on the sample bucket has rows"
